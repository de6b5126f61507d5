import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.events import SAMPLE_RATE, Final, Partial, Translation, Word
from rtstream.formats.lines import clean, json_line, short_clock, text_lines, translation_line

WORDS = (Word("Good", 8_000, 12_000, 0.98765), Word("day.", 12_001, 24_000, 0.5))
FINAL = Final(3, 6_400, 27_205, "Good day.", WORDS)


def test_json_line_has_the_documented_keys_in_order_and_times_to_the_millisecond():
    assert json_line(FINAL) == '{"type": "final", "segment": 3, "start": 0.4, "end": 1.7, "text": "Good day."}'


def test_json_line_of_what_a_service_heard_says_when_and_how_sure_it_is():
    line = json_line(replace(FINAL, confidence=0.87654, time=1_796_019_757.25, language="en"))
    expected = '"text": "Good day.", "language": "en", "confidence": 0.877, "time": "2026-11-30T06:22:37.250Z"}'
    assert line.endswith(expected)
    line = json_line(Partial(3, 6_400, 20_000, "Good", time=-0.5))
    assert json.loads(line)["time"] == "1969-12-31T23:59:59.500Z"


def test_json_line_of_a_partial_says_so():
    assert json.loads(json_line(Partial(3, 6_400, 20_000, "Good")))["type"] == "partial"


def test_json_line_of_a_translation_says_into_what_and_whether_it_stays():
    line = json_line(Translation(3, 6_400, 27_205, "Buenos días.", "es", final=True), words=True)
    assert line == (
        '{"type": "translation", "segment": 3, "start": 0.4, "end": 1.7, "text": "Buenos días.", "language": "es", '
        '"final": true}'
    )


def test_text_of_a_translation_is_one_line_with_its_language():
    translation = Translation(3, 6_400, 27_205, "Buenos\ndías.", "es", final=True)
    assert translation_line(translation) == "[00:00.40 - 00:01.70] es: Buenos días."


def test_words_and_file_are_there_if_asked_for():
    line = json.loads(json_line(FINAL, words=True, file="talk.wav"))
    assert line["file"] == "talk.wav"
    assert line["words"] == [
        {"word": "Good", "start": 0.5, "end": 0.75, "confidence": 0.988},
        {"word": "day.", "start": 0.75, "end": 1.5, "confidence": 0.5},
    ]
    assert json.loads(json_line(Final(0, 0, 1, "x"), words=True))["words"] == []


@given(st.text(), st.integers(0, 10**12))
def test_any_json_line_is_one_line_that_comes_back(text, start):
    line = json_line(Final(0, start, start + 1, text))
    assert "\n" not in line
    assert json.loads(line)["text"] == text
    assert json.loads(line)["start"] == pytest.approx(start / SAMPLE_RATE, abs=0.0006)


def test_text_shows_when_it_was_said():
    assert text_lines(FINAL) == ["[00:00.40 - 00:01.70] Good day."]


def test_text_with_words_lists_each_below():
    assert text_lines(FINAL, words=True)[1:] == ["    00:00.50 00:00.75 0.99 Good", "    00:00.75 00:01.50 0.50 day."]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "00:00.00"), (59.999, "01:00.00"), (3599.994, "59:59.99"), (36_000, "10:00:00.00")]
)
def test_clock_carries_and_shows_hours_when_there_are_any(seconds, shown):
    assert short_clock(round(seconds * SAMPLE_RATE)) == shown


@given(st.text())
def test_clean_text_is_one_printable_line(text):
    cleaned = clean(text)
    assert cleaned.isprintable()
    assert cleaned == " ".join(cleaned.split())
    assert clean(cleaned) == cleaned


def test_clean_text_cannot_command_a_terminal():
    assert clean("one\x1b[2J\ttwo\n three\x07") == "one[2J two three"
