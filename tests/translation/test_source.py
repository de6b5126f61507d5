"""What is translated as a text, of all that recognition gives."""

import pytest

from rtstream.events import Final, Partial, Translation
from rtstream.translation.source import english_text, text_languages

SAID = Final(3, 0, 32_000, "we went home", confidence=0.9, time=5.0, language="en")
FOREIGN = Final(3, 0, 32_000, "nos fuimos a casa", confidence=0.9, time=5.0, language="es")
OF_SPEECH = Translation(3, 0, 32_000, "we went home", "en", final=True, time=5.0)


def test_english_is_not_translated_as_a_text():
    assert text_languages(["de", "en", "fr", "de"]) == ("de", "fr")


@pytest.mark.parametrize("by_speech", [True, False])
@pytest.mark.parametrize("event", [SAID, Partial(3, 0, 16_000, "we went", language="en"), Final(3, 0, 1, "old row")])
def test_what_is_said_in_english_is_translated(event, by_speech):
    assert english_text(event, by_speech=by_speech) == event


def test_what_is_said_in_another_language_is_translated_by_its_english():
    assert english_text(FOREIGN, by_speech=True) is None
    assert english_text(Partial(3, 0, 16_000, "nos", language="es"), by_speech=True) is None
    found = english_text(OF_SPEECH, by_speech=True)
    assert (found, found.time) == (Final(3, 0, 32_000, "we went home", language="en"), 5.0)
    shown = Translation(3, 0, 16_000, "we went", "en", final=False)
    assert english_text(shown, by_speech=True) == Partial(3, 0, 16_000, "we went", language="en")


def test_a_final_of_which_no_english_comes_takes_back_what_was_shown_while_it_was_taken_for_english():
    assert english_text(FOREIGN, by_speech=False) == Final(3, 0, 32_000, "", language="es")
    assert english_text(Partial(3, 0, 16_000, "nos", language="es"), by_speech=False) is None


def test_translations_into_other_languages_are_not_translated():
    assert english_text(Translation(3, 0, 1, "fuimos", "es", final=True), by_speech=True) is None
