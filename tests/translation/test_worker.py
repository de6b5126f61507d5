"""The worker between recognition and subscribers: what it makes, what it leaves out, and what it says of that."""

import threading

import pytest

from rtstream.errors import TranslationError
from rtstream.events import Fault, Final, Partial, Translation
from rtstream.translation.models import open_translators
from rtstream.translation.stabilizer import Stabilizer, StabilizerConfig
from rtstream.translation.worker import BEHIND_FINALS, TranslationWorker
from tests.audio.sound_server import until

CONFIG = StabilizerConfig(mask=0)


class Gate:
    """A translator that is let through one text at a time; ``begun`` are those that came in."""

    languages = ("es", "fr")

    def __init__(self):
        self.go = threading.Semaphore(0)
        self.begun = []

    def translate(self, text, language, prefix=""):  # noqa: ARG002 - a translator's signature
        self.begun.append((language, text))
        assert self.go.acquire(timeout=60)
        if "bad" in text:
            raise ZeroDivisionError("bad luck")
        return text.upper()


@pytest.fixture
def start():
    workers = []

    def make(load, languages=("es", "fr"), **options):
        given = []
        workers.append(TranslationWorker(languages, load, given.append, **options))
        return workers[-1], given

    yield make
    for worker in workers:
        worker.cut()
        worker.finish(10.0)


@pytest.fixture
def gated(start):
    """A worker behind a gate, that is busy with the final of segment 0 in Spanish; and what it gives."""
    gate = Gate()

    def make(**options):
        worker, given = start(lambda: [Stabilizer(gate, language, CONFIG) for language in gate.languages], **options)
        worker.submit(final(0))
        until(lambda: gate.begun, "begun")
        return worker, gate, given

    yield make
    gate.go.release(100_000)


def final(segment, text="said"):
    return Final(segment, segment * 10, segment * 10 + 9, f"{text} {segment}")


def partial(segment, count):
    return Partial(segment, segment * 10, segment * 10 + count, " ".join(["word"] * count))


def faults(given):
    return [(event.code, event.recovered) for event in given if isinstance(event, Fault)]


def translations(given):
    return [event for event in given if isinstance(event, Translation)]


def test_real_models_translate_partials_and_finals_of_a_stream(start, shouting, shouting_in_many):
    def load():
        paths = {"es": shouting, "fr": shouting_in_many}
        return [Stabilizer(model, language, CONFIG) for language, model in open_translators(paths).items()]

    worker, given = start(load)
    worker.submit(partial(0, 2))
    until(lambda: worker.partials == 2, "partials")
    worker.submit(final(0))
    assert worker.finish(60.0)
    assert given == [
        *(Translation(0, 0, 2, "WORD WORD", language, final=False) for language in ("es", "fr")),
        *(Translation(0, 0, 9, "SAID", language, final=True) for language in ("es", "fr")),  # it knows no digits
    ]
    assert worker.seconds > 0
    assert (worker.finals, worker.partials, worker.skipped, worker.lost) == (2, 2, 0, 0)


def test_recognition_does_not_wait_while_a_translation_takes_its_time(gated):
    worker, gate, given = gated()
    for segment in range(1, 4):
        worker.submit(partial(segment, 1))
        worker.submit(final(segment))
    assert given == []
    gate.go.release(8)
    until(lambda: worker.finals == 8, "all finals")


def test_of_partials_only_the_newest_is_translated_for_each_language(gated):
    worker, gate, given = gated()
    for count in range(1, 50):
        worker.submit(partial(1, count))
    gate.go.release(4)
    until(lambda: len(translations(given)) == 4, "translations")
    assert gate.begun[2:] == [("es", partial(1, 49).text), ("fr", partial(1, 49).text)]
    assert worker.skipped == 2 * 48


def test_no_language_is_left_behind_by_another(gated):
    worker, gate, _ = gated()
    gate.go.release(2)
    until(lambda: worker.finals == 2, "final")
    worker.submit(partial(1, 1))
    until(lambda: len(gate.begun) == 3, "begun")
    for count in range(2, 6):
        worker.submit(partial(1, count))
        gate.go.release()
        until(lambda n=count: len(gate.begun) == n + 2, "next")
    assert [language for language, _ in gate.begun[2:]] == ["es", "fr", "es", "fr", "es"]


def test_final_goes_before_partials_and_makes_its_own_stale(gated):
    worker, gate, given = gated()
    worker.submit(partial(1, 1))
    worker.submit(final(1))
    worker.submit(partial(2, 1))
    gate.go.release(6)
    until(lambda: len(translations(given)) == 6, "translations")
    assert [(t.segment, t.language, t.final) for t in translations(given)] == [
        *((0, "es", True), (0, "fr", True), (1, "es", True), (1, "fr", True), (2, "es", False), (2, "fr", False)),
    ]


def test_partials_are_left_alone_if_they_are_not_wanted(gated):
    worker, gate, given = gated(partials=False)
    worker.submit(partial(1, 1))
    worker.submit(final(1))
    gate.go.release(4)
    assert worker.finish(60.0)
    assert all(translation.final for translation in translations(given))
    assert worker.skipped == 0


def test_finals_that_wait_too_long_are_told_and_so_is_the_end_of_that(gated):
    worker, gate, given = gated()
    for segment in range(1, BEHIND_FINALS + 1):
        worker.submit(final(segment))
    gate.go.release()
    until(lambda: faults(given), "told")
    assert faults(given) == [("TRANSLATION_BEHIND", False)]
    gate.go.release(100)
    until(lambda: len(faults(given)) == 2, "told that it is over")
    assert faults(given)[1] == ("TRANSLATION_BEHIND", True)
    assert worker.finals == 2 * (BEHIND_FINALS + 1)
    assert worker.lost == 0


def test_finals_beyond_all_bounds_are_dropped_oldest_first_and_told(gated):
    worker, gate, given = gated(most_finals=5)
    for segment in range(1, 20):
        worker.submit(final(segment))
    assert worker.waiting == 10
    gate.go.release(100)
    until(lambda: worker.finals == 11, "what is left")
    assert [t.segment for t in translations(given)] == [0, *(s for s in range(15, 20) for _ in "ab")]
    assert worker.lost == 2 * 20 - 11
    assert ("TRANSLATIONS_LOST", False) in faults(given)
    assert any(isinstance(e, Fault) and e.message.startswith("29 translations of finals") for e in given)


def test_text_that_fails_is_told_and_the_next_one_is_translated(gated):
    worker, gate, given = gated()
    worker.submit(Final(1, 10, 19, "bad"))
    worker.submit(final(2))
    gate.go.release(100)
    until(lambda: worker.finals == 4, "translations")
    assert faults(given) == [("TRANSLATION_FAILED", False)] * 2
    assert "bad luck" in next(event.message for event in given if isinstance(event, Fault))
    assert worker.lost == 2


def test_end_waits_for_finals_and_not_for_partials(gated):
    worker, gate, given = gated()
    worker.submit(final(1))
    worker.submit(partial(2, 3))
    ended = []
    thread = threading.Thread(target=lambda: ended.append(worker.finish(60.0)))
    thread.start()
    gate.go.release(4)
    thread.join()
    assert ended == [True]
    assert [(t.segment, t.language) for t in translations(given)] == [(0, "es"), (0, "fr"), (1, "es"), (1, "fr")]
    worker.submit(final(3))
    assert worker.waiting == 0


def test_what_cannot_be_translated_before_the_end_is_given_up_and_told(gated):
    worker, _, given = gated()
    worker.submit(final(1))
    assert not worker.finish(0.05)
    (fault,) = given
    assert fault.code == "TRANSLATIONS_LOST"
    assert fault.message.startswith("4 translations of finals will not come")


@pytest.mark.parametrize("error", [TranslationError("no such directory"), MemoryError()])
def test_model_that_cannot_be_used_is_told_and_tried_again(start, shouting, error):
    attempts = threading.Semaphore(0)
    usable = threading.Event()

    def load():
        attempts.release()
        if not usable.is_set():
            raise error
        return [Stabilizer(model, language, CONFIG) for language, model in open_translators({"es": shouting}).items()]

    worker, given = start(load, ("es",), retry_seconds=0.01)
    worker.submit(final(0))
    for _ in range(3):
        assert attempts.acquire(timeout=60)
    assert faults(given)[0] == ("TRANSLATION_UNUSABLE", False)
    usable.set()
    until(lambda: given[-1].recovered, "usable")
    worker.submit(final(1))
    until(lambda: worker.finals, "a translation")
    assert [t.segment for t in translations(given)] == [1]
    assert worker.lost == 1


def test_worker_that_waits_for_its_model_ends_at_once(start):
    def load():
        raise TranslationError("no such directory")

    worker, given = start(load, retry_seconds=1e9)
    until(lambda: given, "told")
    assert worker.finish(60.0)


def test_translation_gives_way_to_other_threads(start, shouting):
    import os

    seen = []

    def load():
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return [Stabilizer(model, language, CONFIG) for language, model in open_translators({"es": shouting}).items()]

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    start(load, ("es",))
    until(lambda: seen, "loaded")
    assert seen[0] > before or before == 19
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
