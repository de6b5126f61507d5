"""What is said in another language, in English: the decoder's other task, over the frames that it has already.

Whether anybody speaks is for the transcription to say, and for CTC, which knows nothing of English words that nobody
said: of a translation are refused what comes to no end, as loops do, and what has no word. What the transcription, of
which CTC counts that, does not say several times in a row, the translation says once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtstream.engine.base import DecoderState
    from rtstream.recognizer.final_pass import GreedyDecoder

REPEATED = 3
"""Words from which on a translation says nothing twice in a row that was not: "very very good" may be said once."""
NOISES = re.compile(r"\([^()]*\)|\[[^][]*\]|\*[^*]*\*")


def without_noises(text: str) -> str:
    """A decoder's text; none where it is but marks and "(noises)", as Whisper's decoder has them."""
    text = text.strip()
    return text if any(map(str.isalnum, NOISES.sub("", text))) else ""


def translate(decoder: GreedyDecoder, state: DecoderState, spoken: str) -> str:
    """The English of all frames of ``state``; none where the decoder comes to no end by itself.

    ``spoken``: the transcription.
    """
    decoded = decoder.transcribe(state)
    return said_once(without_noises(decoder.tokenizer.decode(decoded.tokens)), spoken) if decoded.ended else ""


def said_once(text: str, spoken: str) -> str:
    """A text without the words that it says again right behind, unless what was spoken says any again."""
    words = text.split()
    if _repetition(_keys(spoken.split()), 1) is None:
        while (found := _repetition(_keys(words), REPEATED)) is not None:
            del words[found]  # what was said first: the last time it has the mark that belongs there
    return " ".join(words)


def _keys(words: Sequence[str]) -> list[str]:
    """Words as they are compared: without case and marks."""
    return ["".join(filter(str.isalnum, word)).casefold() for word in words]


def _repetition(keys: Sequence[str], least: int) -> slice | None:
    """The first words, ``least`` or more and as many as can be, that stand there again right behind."""
    lengths = range(len(keys) // 2, least - 1, -1)
    places = (slice(start, start + n) for n in lengths for start in range(len(keys) - 2 * n + 1))
    return next((at for at in places if keys[at] == keys[at.stop : 2 * at.stop - at.start]), None)


class GrowingTranslation:
    """The English of a segment that is being spoken, as far as it has been shown: ``text``. It takes nothing back."""

    def __init__(self) -> None:
        self.text = ""
        self._tokens: list[int] = []
        self._draft: list[int] = []  # what the decoder wrote after them

    def extend(self, decoder: GreedyDecoder, state: DecoderState, stop_frames: int) -> bool:
        """Let it grow by what lies ``stop_frames`` behind the newest of the frames of ``state``; whether it did.

        AlignAtt as for the transcription's partials, from the same heads (arXiv 2305.11408, which is of translations).
        All of the text is read again, in one step: ``state`` may be of another text.
        """
        grown = decoder.extend(state.rewound(0), self._tokens, stop_frames, self._draft)
        tokens = [*self._tokens, *grown.tokens]
        text = without_noises(decoder.tokenizer.decode(tokens))
        if len(text) <= len(self.text):
            self._draft = [*grown.tokens, *grown.draft]
            return False
        self.text, self._tokens, self._draft = text, tokens, grown.draft
        return True
