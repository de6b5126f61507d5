"""One stream of speech segments being recognised."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from rtstream.events import (
    SAMPLE_RATE,
    Event,
    Final,
    Partial,
    SegmentAudio,
    Transcription,
    Translation,
    Word,
)
from rtstream.languages import ENGLISH
from rtstream.recognizer.biasing import BiasedText
from rtstream.recognizer.context import context_frames, seen_frames
from rtstream.recognizer.ctc_search import greedy_text
from rtstream.recognizer.english import GrowingTranslation, translate, without_noises
from rtstream.recognizer.final_pass import Grown
from rtstream.recognizer.guard import (
    addressed,
    borne_out,
    hardly_heard,
    is_sure,
    is_unheard,
    may_be_unheard,
    spelt,
    spoken,
    written_alone,
)
from rtstream.recognizer.guessing import with_ctc
from rtstream.recognizer.heard import Heard
from rtstream.recognizer.level import levelled
from rtstream.recognizer.memory import return_freed_memory
from rtstream.recognizer.repetition import as_often_as_heard
from rtstream.recognizer.room_tone import with_room_tone
from rtstream.recognizer.sentence_cut import continued, unfinished
from rtstream.recognizer.spoken_language import SpokenLanguage, is_clear, may_be_clear
from rtstream.recognizer.words import mean_confidence, placed_words
from rtstream.recognizer.written_numbers import number_final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtstream.engine.base import F32
    from rtstream.recognizer.final_pass import Decoded, GreedyDecoder, Opening
    from rtstream.recognizer.recognizer import Recognizer


WORD_SAMPLES = 3 * SAMPLE_RATE
"""The longest segment that may be a word of which nothing is written for the silence around it."""
UNANSWERED = 4
"""Letters of a word, which CTC hears, and to which no text at all is no answer."""
SUPPORTED = 0.5
"""Nats a letter by which CTC's best path may be better than that of a text that needs no second pass."""
SHAPE_STEP = 32
"""Encoder frames to whose multiple a whole segment is padded."""


class StageTimes:
    """CPU seconds that each stage has taken, for benchmarks and metrics; ``stage``: the one under way, "" for none."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.stage = ""

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the CPU time of a block to a stage."""
        before, self.stage = self.stage, stage
        start = time.thread_time()
        try:
            yield
        finally:
            self.seconds[stage] += time.thread_time() - start
            self.stage = before


def _final_until(end: int, silence: int, tail: int) -> int:
    """The position up to which a final is made of a segment that ends at ``end`` after ``silence`` samples of it."""
    return min(end, end - silence + tail)


@dataclass(frozen=True)
class _Found:
    """What the search for a final has found in a segment's audio up to the position ``until``.

    ``text`` is the decoder's, None where it is not to be trusted. ``vouched``: whether that counts whoever is found to
    speak. ``likely``: how likely its language is. ``english``: the same in English, None where that has not been looked
    for yet.
    """

    until: int
    heard: Heard
    opening: Opening
    text: str | None
    vouched: bool
    likely: float = 1.0
    english: str | None = None


def _nothing(recognizer: Recognizer, language: str, room: int = 0, lead: int = 0) -> Heard:
    """What is known before anything was heard of a segment in a language; with ``room`` for so many frames."""
    state = recognizer.engine.decoder.initial_state(room)
    return Heard(state, letters=recognizer.letters, language=language, lead=lead)


class _OpenSegment:
    """What is known of the segment that is being spoken."""

    def __init__(self, recognizer: Recognizer, start: int) -> None:
        self.start = self.end = start
        self.mel = recognizer.features.initial_state()
        self.encoder = recognizer.encoder.initial_state()
        # What later frames change nothing of, and that with the newest frames, which they do.
        room = recognizer.bundle.config.encoder.max_frames if recognizer.by_chunks else 0
        self.settled = self.heard = _nothing(recognizer, recognizer.languages[0], room)
        self.audio: list[F32] = []  # where it is to be encoded whole
        self.found: _Found | None = None
        self.committed: list[int] = []
        self.draft: list[int] = []  # what the decoder wrote after it
        self.drafts: list[tuple[int, list[int]]] = []  # all of both, and up to where it was heard, after each chunk
        self.text = ""
        self.english = GrowingTranslation()
        self.least = 0.0  # log-probability of its tokens by greedy search, minus infinity of what another has found
        self.biased = None if recognizer.biaser is None else BiasedText(recognizer.biaser)

    def draft_until(self, position: int) -> list[int]:
        """What was written of the chunks up to a position: a guess at a final's text that hangs on no timing."""
        return next((tokens for end, tokens in reversed(self.drafts) if end <= position), [])

    def take_for(self, language: str) -> None:
        """Take another language to be spoken in it."""
        self.settled, self.heard = self.settled.said_in(language), self.heard.said_in(language)

    def has_letters(self) -> bool:
        """Whether there is a text, or CTC has heard at least a letter in the chunks so far."""
        return bool(self.text or self.heard.evidence.heard)


def _translation(event: Transcription, text: str) -> Translation:
    """A text as the English of what an event has."""
    return Translation(event.segment, event.start, event.end, text, ENGLISH, final=isinstance(event, Final))


class RecognizerSession:
    """Turns the segments of one stream into partials and finals, and their English. Not shared between threads."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer
        self.times = StageTimes()
        self._next = recognizer
        self._open: _OpenSegment | None = None
        self._spoken = SpokenLanguage()
        self._cut_at: int | None = None  # where the segment before was cut within a sentence

    def prepare(self, rest: F32, silence: int) -> None:
        """Find the open segment's final already, should the silence that it is in close it.

        ``rest``: its audio (n,) that :meth:`accept` was not given yet; ``silence``: the samples at the end of it that
        hold no speech. It takes as long as a final does, and changes no event: it is for when there is nothing else to
        do. Does nothing where the silence is too short yet, or has been looked at.
        """
        segment, r = self._open, self.recognizer
        if segment is None or not r.reencodes or self._may_do(segment):
            return
        until = _final_until(segment.end + len(rest), silence, r.tail_samples)
        if segment.found is not None and segment.found.until != until:
            segment.found = None  # speech went on
        # Asked with every block: what costs least to know comes first.
        if segment.found is not None or silence < r.tail_samples or (r.by_chunks and not segment.has_letters()):
            return
        found = self._find_whole(segment, np.concatenate([*segment.audio, rest]), until)
        segment.found = replace(found, english=self._english(found) if found.text else None)

    def change(self, recognizer: Recognizer) -> None:
        """Use another recognizer, of the same chunk length, from the next segment on; any thread may call it."""
        self._next = recognizer

    def accept(self, audio: SegmentAudio) -> list[Event]:
        """The events that further audio of a segment brings, in order; a final when it is the segment's last.

        A segment without words gives no event at all. The audio of a segment must be contiguous.
        """
        if self._open is None:
            self.recognizer = self._next
            self._open = _OpenSegment(self.recognizer, audio.position)
        r = self.recognizer
        segment = self._open
        segment.end = audio.position + len(audio.samples)
        samples = audio.samples
        if r.reencodes:
            segment.audio.append(samples)
        new = False
        # The end of a segment is encoded with all of it, where that is.
        if r.by_chunks and not (audio.last and r.reencodes and not self._may_do(segment)):
            with self.times.measure("features"):
                mel, segment.mel = r.features.step(samples, segment.mel)
                if audio.last:
                    mel = np.concatenate([mel, r.features.finish(segment.mel)])
            with self.times.measure("encoder"):
                encoded, segment.encoder = r.encoder.step(
                    mel, segment.encoder, r.chunk_frames, ahead=r.ahead_frames, last=audio.last
                )
            new = len(encoded.settled) + len(encoded.open) > 0
            if new:
                segment.heard = self._hear(np.concatenate([encoded.settled, encoded.open]), segment.settled)
                segment.settled = segment.heard.without(len(encoded.open))
        if audio.last:
            self._open = None
            found = self._found(audio, segment)
            closed = [] if found is None else self._closed(audio, segment, found)
            self._cut_at = segment.end if audio.cut else None
            return closed
        partial = self._partial(audio.segment, segment) if new and segment.has_letters() else None
        if partial is None:
            return []
        return [partial, *self._partial_translation(partial, segment)]

    def _hear(self, states: F32, before: Heard, *, spoken: int | None = None) -> Heard:
        """What is known with further states; of them the first ``spoken`` are the segment's, others its padding's."""
        if not len(states):
            return before
        engine = self.recognizer.engine
        with self.times.measure("ctc"):
            posteriors = engine.ctc(states[:spoken])
            voice = engine.voice(states[:spoken])
            voices = () if voice is None else (voice,)
        with self.times.measure("decoder"):
            decoder = engine.decoder.cross_keys(states, before.decoder)
        return replace(
            before,
            decoder=decoder,
            posteriors=(*before.posteriors, posteriors),
            voices=(*before.voices, *voices),
        )

    def _encode_whole(self, mel: F32) -> tuple[F32, int]:
        """The states of a whole segment, with full context, and of what follows it; how many are its own."""
        r = self.recognizer
        sizes = r.bundle.config.encoder
        with self.times.measure("second encoding"):
            frames = sizes.frames(len(mel))
            # Torch keeps code for every shape that it has met, a quarter of a megabyte for each: let them be few.
            whole = min(-(-context_frames(frames, sizes) // SHAPE_STEP) * SHAPE_STEP, sizes.max_frames)
            padded = r.features.padded(mel, whole)
            return r.encoder.full(padded, length=len(mel), wanted=frames + seen_frames(sizes)), frames

    def _partial(self, number: int, segment: _OpenSegment) -> Partial | None:
        r = self.recognizer
        if r.config.partials == "none" or not self._is_in_a_language(segment):
            return None
        if r.config.partials == "ctc" and segment.heard.language != ENGLISH:
            return None  # it has plain letters of other languages, which are not how they are written
        if r.config.partials == "ctc":
            heard = segment.settled  # what is open may come out otherwise: a partial takes nothing back
            grown = Grown([], [], None)
            text = self._grown_by_ctc(segment)
        else:
            heard = segment.heard
            grown = self._grown_by_decoder(segment)
            text = self._written([*segment.committed, *grown.tokens])
            end = segment.start + heard.decoder.frames * r.frame_samples
            segment.drafts.append((end, [*segment.committed, *grown.tokens, *grown.draft]))
        if segment.biased is not None and text:
            text = " ".join(segment.biased.words)
        if not self._may_be_shown(text, heard, segment, grown.opening):
            segment.draft = [*grown.tokens, *grown.draft]
            if segment.biased is not None and r.config.partials == "decoder":
                segment.biased.take_back()
            return None
        segment.committed, segment.draft, segment.text = [*segment.committed, *grown.tokens], grown.draft, text
        known = grown.log_probs or not grown.tokens
        segment.least = min([segment.least, *grown.log_probs]) if known else -np.inf
        end = segment.start + heard.decoder.frames * r.frame_samples
        words = self._words(text, segment) if r.config.words else ()
        return Partial(number, segment.start, min(end, segment.end), text, words, language=heard.language)

    def _is_in_a_language(self, segment: _OpenSegment) -> bool:
        """Whether it is clear enough which language the open segment is in; what has been shown of it stays in that."""
        r = self.recognizer
        if len(r.languages) == 1 or segment.text:
            return True
        seconds = segment.heard.decoder.frames * r.frame_samples / SAMPLE_RATE
        if not may_be_clear(seconds):
            return False
        language, likely = self._likeliest(segment, self._opening(segment.heard))
        segment.take_for(language)
        return is_clear(likely, seconds)

    def _opening(self, heard: Heard) -> Opening:
        """What the decoder says before a text over all frames."""
        with self.times.measure("guard"):
            return self.recognizer.searches[heard.language].decoder.opening(heard.decoder)

    def _likeliest(self, segment: _OpenSegment, opening: Opening, end: int | None = None) -> tuple[str, float]:
        """The language of a segment, and how likely it is; ``end``: where it ends, None while it goes on."""
        return self._spoken.likeliest(opening.shares, self.recognizer.languages, segment.start, end)

    def _grown_by_ctc(self, segment: _OpenSegment) -> str:
        """CTC's text of the settled frames, whole words only."""
        letters, log_probs = self.recognizer.letters, segment.settled.log_probs
        with self.times.measure("ctc"):
            text = greedy_text(log_probs, letters)
            if text and log_probs[-1].argmax() != letters.index(" ") + 1:  # until a space follows, a word may go on
                text = text.rpartition(" ")[0]
        if segment.biased is not None:
            with self.times.measure("phrases"):
                segment.biased.add_text(text, log_probs)
        return text

    def _grown_by_decoder(self, segment: _OpenSegment) -> Grown:
        """What the decoder adds to the tokens that have been shown."""
        r, heard = self.recognizer, segment.heard
        decoder = r.searches[heard.language].decoder
        with self.times.measure("partials"):
            posteriors = heard.log_probs[: max(len(heard.log_probs) - r.stop_frames, 0)]
            draft = self._guess([*segment.committed, *segment.draft], posteriors, heard.language)
            grown = decoder.extend(heard.decoder, segment.committed, r.stop_frames, draft[len(segment.committed) :])
        if grown.state is not None:  # the next chunk's frames go on from what has been read
            newest = heard.decoder.frames - segment.settled.decoder.frames
            segment.settled = replace(segment.settled, decoder=grown.state.without(newest))
        if segment.biased is not None:
            with self.times.measure("phrases"):
                settled = len(segment.settled.log_probs)
                added = segment.biased.add_tokens(
                    grown.tokens,
                    segment.committed,
                    heard.log_probs,
                    decoder,
                    heard.decoder,
                    settled=settled,
                    language=heard.language,
                )
            grown = replace(grown, tokens=added, log_probs=[])
        return grown

    def _may_be_shown(self, text: str, heard: Heard, segment: _OpenSegment, opening: Opening | None) -> bool:
        """Whether a text is longer than what has been shown, and what was heard bears it out."""
        search = self.recognizer.searches[heard.language]
        if len(text) <= len(segment.text) or not borne_out(text, heard.evidence, search.guard):
            return False
        if segment.text:
            return True
        with self.times.measure("guard"):
            opening = heard.opening or opening or search.decoder.opening(heard.decoder)
            return spoken(text, opening, heard.evidence, search.guard, partial=True)

    def _may_do(self, segment: _OpenSegment) -> bool:
        """Whether the chunks may do for a segment's final."""
        r = self.recognizer
        return r.spares and bool(segment.text) and segment.least >= r.config.sure

    def _found_in_chunks(self, segment: _OpenSegment) -> _Found | None:
        """What a segment's final is made of where its chunks are sure enough."""
        r, heard = self.recognizer, segment.heard
        likely = 1.0
        if len(r.languages) > 1:
            language, likely = self._likeliest(segment, self._opening(heard), segment.end)
            if language != heard.language:
                return None
        search = r.searches[heard.language]
        with self.times.measure("finals"):
            draft = self._guess(segment.draft_until(segment.end), heard.log_probs, heard.language)
            decoded = search.greedy.transcribe(heard.decoder, draft)
        opening = heard.opening or decoded.opening
        if not decoded.ended or min(decoded.log_probs) < r.config.sure:
            return None
        if opening.no_speech > search.guard.max_no_speech_sure or opening.language < search.guard.min_language_sure:
            return None
        text, vouched = self._judged(decoded, heard)
        if text != self._written(decoded.tokens):  # it repeats itself
            return None
        with self.times.measure("guard"):
            support = heard.evidence.support(text)
        if support is None or support.excess > SUPPORTED * support.letters:
            return None
        return _Found(segment.end, heard, opening, text, vouched, likely)

    def _find_whole(self, segment: _OpenSegment, audio: F32, until: int) -> _Found:
        """Look for the final of a segment up to ``until`` in all of its ``audio`` (n,), encoded with full context.

        A word of somebody who speaks, of which nothing is written, is listened to once more where digital silence is
        around it, or nothing at all before it, with the tone of a room in its place.
        """
        audio = audio[: until - segment.start]
        found = self._find(segment, audio, until)
        guard, who = self.recognizer.searches[found.heard.language].guard, found.heard.opening
        if who is None or not addressed(who, guard):  # Whisper learnt what digital silence is
            return found
        if len(audio) > WORD_SAMPLES or self._text(found):
            return found
        lead = 0 if segment.start else self.recognizer.lead_samples
        toned = with_room_tone(audio, lead)
        if toned is None:
            return found
        again = self._find(segment, toned, until, lead)
        return again if self._text(again) else found

    def _find(self, segment: _OpenSegment, audio: F32 | None, until: int, lead: int = 0) -> _Found:
        """Look for the final of a segment up to ``until``.

        ``audio``: all of it (n,), and ``lead`` samples before it, where it is to be encoded.
        """
        r, heard = self.recognizer, segment.heard
        if audio is not None:
            with self.times.measure("features"):
                mel = r.features(levelled(audio))
            encoded, frames = self._encode_whole(mel)
            heard = self._hear(encoded, _nothing(r, segment.heard.language, lead=lead), spoken=frames)
        opening = heard.opening
        drafted, likely = segment.draft_until(until), 1.0
        if len(r.languages) > 1:  # with all of it heard it may be another language than it seemed in its beginning
            said = self._opening(heard)
            opening, (language, likely) = opening or said, self._likeliest(segment, said, until)
            drafted = drafted if language == heard.language else []
            heard = heard.said_in(language)
        search = r.searches[heard.language]
        letters = heard.evidence.heard
        if not letters:
            opening = opening or self._opening(heard)
            if not may_be_unheard(opening, search.guard):
                return _Found(until, heard, opening, "", vouched=False)
        draft = self._guess(drafted, heard.log_probs, heard.language)
        decoded, text, vouched = self._transcribed(search.decoder, heard, draft)
        opening = opening or decoded.opening
        unanswered = not text and letters >= UNANSWERED
        if (text is None or unanswered) and addressed(opening, search.guard):
            second, text, vouched = self._transcribed(search.second, heard, decoded.tokens)
            doubted = unanswered and not is_sure(heard.opening, second.certainty, search.guard)
            if not text or (doubted and not vouched and is_unheard(text, heard.evidence)):
                text = None  # nothing is no answer to what was heard, nor is what was not
        return _Found(until, heard, opening, text, vouched, likely)

    def _found(self, audio: SegmentAudio, segment: _OpenSegment) -> _Found | None:
        """What a segment's final is made of, now that ``audio`` has closed it; None where there is nothing of it."""
        r = self.recognizer
        if not (r.reencodes and any(map(len, segment.audio))):
            return self._find(segment, None, segment.end) if segment.heard.posteriors else None
        if self._may_do(segment) and (found := self._found_in_chunks(segment)) is not None:
            return found
        until = _final_until(segment.end, audio.silence, r.tail_samples)
        if segment.found is not None and segment.found.until == until:
            return segment.found
        # Let go first of what is replaced, and of the holes that its growing left: together they take as much memory.
        segment.settled = segment.heard = _nothing(r, segment.heard.language)
        segment.encoder, segment.found = r.encoder.initial_state(), None
        with self.times.measure("memory"):
            return_freed_memory()
        return self._find_whole(segment, np.concatenate(segment.audio), until)

    def _closed(self, audio: SegmentAudio, segment: _OpenSegment, found: _Found) -> list[Event]:
        """A segment's final, if it has one, and its translation."""
        final = self._final(audio, segment, found)
        if final is None:
            return []
        if self.recognizer.searches[final.language].english is None:
            return [final]
        text = ""
        if final.text:
            text = self._english(found) if found.english is None else found.english
            text = self._fitted(text, audio, segment, ENGLISH)
        return [final, _translation(final, text)]

    def _partial_translation(self, partial: Partial, segment: _OpenSegment) -> list[Event]:
        """What a segment's translation has grown by, now that a partial has been shown."""
        r = self.recognizer
        english = r.searches[partial.language].english
        if english is None or r.config.translate != "all":
            return []
        with self.times.measure("translation"):
            grown = segment.english.extend(english, segment.heard.decoder, r.stop_frames)
        return [_translation(partial, segment.english.text)] if grown else []

    def _english(self, found: _Found) -> str:
        """What was found, in English; nothing where that is not asked for."""
        english = self.recognizer.searches[found.heard.language].english
        if english is None:
            return ""
        with self.times.measure("translation"):
            return translate(english, found.heard.decoder, found.text or "")

    def _final(self, audio: SegmentAudio, segment: _OpenSegment, found: _Found) -> Final | None:
        r = self.recognizer
        segment.heard = heard = found.heard
        search = r.searches[heard.language]
        trusted = found.text is not None
        text = self._text(found)
        if not text:  # what was shown is taken back
            taken_back = Final(audio.segment, segment.start, segment.end, "", language=heard.language)
            return taken_back if segment.text else None
        if r.biaser is not None:
            with self.times.measure("phrases"):
                asked = (search.decoder, heard.decoder) if trusted else ()
                text = r.biaser.correct(text, heard.log_probs, *asked, language=heard.language)
        self._spoken = self._spoken.after(heard.language, found.likely, segment.start, found.until)
        text = self._fitted(text, audio, segment, heard.language)
        words = self._words(text, segment)
        confidence = mean_confidence(words)
        source: Literal["decoder", "ctc"] = "decoder" if trusted else "ctc"
        words = words if r.config.words else ()
        final = Final(
            audio.segment, segment.start, segment.end, text, words, source, confidence, language=heard.language
        )
        return number_final(final, r.config.numbers)

    def _text(self, found: _Found) -> str:
        """What is published of what was found: nothing of what the guard refuses."""
        evidence, guard = found.heard.evidence, self.recognizer.searches[found.heard.language].guard
        with self.times.measure("guard"):
            text = written_alone(evidence, guard, self.recognizer.lexicon) if found.text is None else found.text
            return text if found.vouched or spoken(text, found.opening, evidence, guard) else ""

    def _transcribed(self, decoder: GreedyDecoder, heard: Heard, draft: list[int]) -> tuple[Decoded, str | None, bool]:
        """What a decoder writes of a segment, and the text of that; None where it does not end or CTC contradicts.

        ``draft``: a guess at what it writes.

        What is said several times counts as often as CTC hears it. Last: whether CTC, or the decoder of a short word,
        vouches for the text, whoever is found to speak.
        """
        with self.times.measure("finals"):
            decoded = decoder.transcribe(heard.decoder, draft)
        return (decoded, *self._judged(decoded, heard))

    def _judged(self, decoded: Decoded, heard: Heard) -> tuple[str | None, bool]:
        """The text of what was decoded, and whether it is vouched for, as ``_transcribed`` says."""
        guard = self.recognizer.searches[heard.language].guard
        with self.times.measure("guard"):
            evidence = heard.evidence
            written = self._written(decoded.tokens)
            sure = is_sure(heard.opening, decoded.certainty, guard)
            text = as_often_as_heard(written, evidence.penalty)
            if sure and decoded.ended and is_unheard(written, evidence) and is_unheard(text, evidence):
                text = written  # who hears nothing of it cannot count
            if not (decoded.ended or text != written):
                return None, False
            opening = heard.opening or decoded.opening
            # The certainty is that of all that was written: a loop of which CTC hears nothing is no word said once.
            if text == written and hardly_heard(text, opening, evidence, guard, certainty=decoded.certainty):
                return text, True
            if borne_out(text, evidence, guard, sure=sure):
                return text, spelt(text, evidence, guard)
        return None, False

    def _guess(self, tokens: list[int], log_probs: F32, language: str) -> list[int]:
        """What the decoder may write of what was heard: ``tokens``, and behind them what CTC spells."""
        r = self.recognizer
        return with_ctc(tokens, greedy_text(log_probs, r.letters), r.bundle.tokenizer, language)

    def _written(self, tokens: list[int]) -> str:
        return without_noises(self.recognizer.bundle.tokenizer.decode(tokens))

    def _fitted(self, text: str, audio: SegmentAudio, segment: _OpenSegment, language: str) -> str:
        """A text in a language that was cut from the one before it, or the one behind it, as a part of a sentence."""
        if segment.start == self._cut_at:
            text = continued(text, language)
        return unfinished(text, language) if audio.cut else text

    def _words(self, text: str, segment: _OpenSegment) -> tuple[Word, ...]:
        with self.times.measure("words"):
            begin, heard = segment.start, segment.heard
            words = placed_words(text, heard.evidence, begin - heard.lead, self.recognizer.frame_samples)
            return tuple(replace(word, start=max(word.start, begin), end=max(word.end, begin)) for word in words)
