"""The thread that translates beside recognition, which never waits for it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from rtstream.errors import TranslationError
from rtstream.events import Fault, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtstream.events import Partial, Transcription, Translation
    from rtstream.translation.stabilizer import Stabilizer

log = structlog.get_logger()

NICE = 5
"""Added to the thread's niceness: on a machine that is short of processors recognition goes first."""
BEHIND_FINALS = 8
"""When so many finals wait, subscribers are told that translation is behind."""
UNUSABLE, BEHIND = "TRANSLATION_UNUSABLE", "TRANSLATION_BEHIND"
"""Codes of faults that recover."""
LAST_SECONDS = 1.0
"""That the translation which is being made at the end still gets."""
MOST_FINALS = 1_000
"""That may wait; at a final every two seconds that is half an hour. When there are more the oldest goes."""


class TranslationWorker:
    """Translates the events of one stream. ``load`` makes a stabilizer for each language, on the worker's thread.

    Every final is translated into each of ``languages``, in order, before any partial; of partials the newest, if
    there is time before its segment's final comes. ``publish`` gets the translations, and what goes wrong; it must not
    wait. A model that cannot be loaded is tried again every ``retry_seconds``. ``most_finals`` may wait.
    """

    def __init__(
        self,
        languages: Sequence[str],
        load: Callable[[], Sequence[Stabilizer]],
        publish: Callable[[Translation | Fault], None],
        *,
        partials: bool = True,
        retry_seconds: float = 10.0,
        most_finals: int = MOST_FINALS,
    ) -> None:
        self.languages = tuple(languages)
        self.finals = 0
        """Translations of finals, of all languages together, as below."""
        self.partials = 0
        """Translations of partials that were shown."""
        self.skipped = 0
        """Translations of partials that were not made, since something newer was there."""
        self.lost = 0
        """Translations of finals that were not made."""
        self.seconds = 0.0
        """Time spent."""
        self._load = load
        self._publish = publish
        self._wants_partials = partials
        self._retry_seconds = retry_seconds
        self._most = most_finals * len(self.languages)
        self._waiting: deque[tuple[str, Final]] = deque()
        self._newest: dict[str, Partial] = {}  # by language, the one that has waited longest first
        self._dropped = 0  # and not told yet
        self._busy = False
        self._closing = False
        self._changed = threading.Condition()  # guards what is above
        self._behind = False
        self._thread = threading.Thread(target=self._run, name="translation", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Translations of finals that are still to be made."""
        return len(self._waiting)

    def submit(self, event: Transcription) -> None:
        """Take an event; returns at once, from any thread."""
        with self._changed:
            if self._closing:
                return
            if isinstance(event, Final):
                self._skip_partials()
                self._waiting.extend((language, event) for language in self.languages)
                while len(self._waiting) > self._most:
                    self._waiting.popleft()
                    self._dropped += 1
            elif self._wants_partials:
                self.skipped += len(self._newest)
                self._newest |= dict.fromkeys(self.languages, event)
            self._changed.notify_all()

    def finish(self, seconds: float) -> bool:
        """Translate the finals that wait, and end; what takes longer than ``seconds`` is given up. Whether none was."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._skip_partials()
            self._wants_partials = False
            self._changed.wait_for(lambda: not self._waiting and not self._busy, seconds)
            self._closing = True
            given_up = len(self._waiting) + self._busy
            self._waiting.clear()
            self._changed.notify_all()
        if given_up:
            self._lose(given_up, "TRANSLATIONS_LOST", "the time to end was too short")
        # Also where there is no time left: the process must not end in the middle of a model's work.
        self._thread.join(max(LAST_SECONDS, deadline - time.monotonic()))
        return not given_up

    def cut(self) -> None:
        """Give up what waits."""
        with self._changed:
            self._dropped += len(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()

    # The worker's own thread.

    def _run(self) -> None:
        with suppress(OSError):  # the threads that a model starts inherit it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICE)
        stabilizers = self._loaded()
        while (work := self._next()) is not None:
            language, event = work
            self._translate(stabilizers[language], event)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _loaded(self) -> dict[str, Stabilizer]:
        """The stabilizers, as soon as their models can be loaded; none if the worker is ended before."""
        failed = False
        while not self._closing:
            try:
                loaded = {stabilizer.language: stabilizer for stabilizer in self._load()}
            except Exception as error:  # also what may pass by itself, such as want of memory
                failed = True
                known = isinstance(error, TranslationError)
                if not known:
                    log.exception("a translation model cannot be loaded")
                reason = str(error) if known else f"{type(error).__name__}: {error}"
                self._publish(Fault(UNUSABLE, f"{reason}; finals go untranslated meanwhile"))
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, self._retry_seconds)
                    self.lost += len(self._waiting)  # told already
                    self._waiting.clear()
                    self._changed.notify_all()
            else:
                if failed:
                    self._publish(
                        Fault(UNUSABLE, f"{', '.join(loaded)}: the translation models are loaded", recovered=True)
                    )
                return loaded
        return {}

    def _next(self) -> tuple[str, Transcription] | None:
        """What to translate next; None at the end."""
        self._tell_load()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._newest or self._closing)
            if self._closing:
                return None
            self._busy = True
            if self._waiting:
                return self._waiting.popleft()
            language = next(iter(self._newest))
            return language, self._newest.pop(language)

    def _translate(self, stabilizer: Stabilizer, event: Transcription) -> None:
        began = time.monotonic()
        try:
            translation = stabilizer.translate(event)
        except Exception as error:  # a text that fails must not end the others
            log.exception("translation has failed", language=stabilizer.language)
            if isinstance(event, Final):
                self._lose(1, "TRANSLATION_FAILED", f"{type(error).__name__}: {error}")
            return
        finally:
            self.seconds += time.monotonic() - began
        if translation is not None:
            self.finals += translation.final
            self.partials += not translation.final
            self._publish(translation)

    def _tell_load(self) -> None:
        """Tell when finals wait too long, when that is over, and when some were dropped."""
        with self._changed:
            finals = len(self._waiting) // len(self.languages)
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._lose(dropped, "TRANSLATIONS_LOST", "translation is too slow for what is said")
        if finals >= BEHIND_FINALS and not self._behind:
            self._behind = True
            message = f"{finals} finals wait for translation: choose a smaller model, or fewer languages"
            self._publish(Fault(BEHIND, message))
        elif not finals and self._behind:
            self._behind = False
            self._publish(Fault(BEHIND, "translation has caught up", recovered=True))

    def _lose(self, count: int, code: str, why: str) -> None:
        self.lost += count
        self._publish(Fault(code, f"{count} translation{'s' * (count != 1)} of finals will not come: {why}"))

    def _skip_partials(self) -> None:
        self.skipped += len(self._newest)
        self._newest.clear()
