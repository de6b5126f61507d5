"""What is said in another language, in English: the decoder's other task, over the frames that it has already.

Whether anybody speaks is for the transcription to say, and for CTC, which knows nothing of English words that nobody
said: of a translation are refused what comes to no end, as loops do, and what has no word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtstream.engine.base import DecoderState
    from rtstream.recognizer.final_pass import GreedyDecoder

NOISES = re.compile(r"\([^()]*\)|\[[^][]*\]|\*[^*]*\*")


def without_noises(text: str) -> str:
    """A decoder's text; none where it is but marks and "(noises)", as Whisper's decoder has them."""
    text = text.strip()
    return text if any(map(str.isalnum, NOISES.sub("", text))) else ""


def translate(decoder: GreedyDecoder, state: DecoderState) -> str:
    """The English of all frames of ``state``; none where the decoder comes to no end by itself."""
    decoded = decoder.transcribe(state)
    return without_noises(decoder.tokenizer.decode(decoded.tokens)) if decoded.ended else ""


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
