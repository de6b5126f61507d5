import json

import pytest

from rtstream.events import Final, Partial, Translation
from rtstream.formats.writer import FORMATS, EventWriter

EVENTS = (
    Partial(0, 0, 16_000, "one"),
    Final(0, 0, 32_000, "one two"),
    Partial(1, 48_000, 64_000, "three"),
    Final(1, 48_000, 80_000, "three four"),
)


def document(format_, **options):
    writer = EventWriter(format_, **options)
    return writer.begin() + "".join(map(writer.add, EVENTS))


def test_text_is_a_line_for_each_final():
    assert document("text") == "[00:00.00 - 00:02.00] one two\n[00:03.00 - 00:05.00] three four\n"


def test_text_has_the_language_where_it_changes_from_english_on():
    spoken = ["", "en", "es", "es", "", "en", "en"]
    writer = EventWriter("text")
    lines = [writer.add(Final(n, 0, 32_000, "text", language=code)) for n, code in enumerate(spoken)]
    said = [line.removeprefix("[00:00.00 - 00:02.00] ").rstrip() for line in lines]
    assert said == ["text", "text", "[es] text", "text", "text", "[en] text", "text"]


def test_text_of_a_named_file_stands_below_its_name():
    assert document("text", file="a\n\x1b.wav").splitlines()[:2] == ["a\\n\\x1b.wav:", "[00:00.00 - 00:02.00] one two"]
    assert EventWriter("text", file="a.wav").begin() == ""


def test_jsonl_has_every_event():
    lines = [json.loads(line) for line in document("jsonl", file="a.wav").splitlines()]
    assert [line["type"] for line in lines] == ["partial", "final"] * 2
    assert {line["file"] for line in lines} == {"a.wav"}


def test_srt_counts_its_captions_through():
    assert document("srt") == (
        "1\n00:00:00,000 --> 00:00:02,000\none two\n\n2\n00:00:03,000 --> 00:00:05,000\nthree four\n\n"
    )


def test_vtt_has_its_header_even_without_a_caption():
    assert document("vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\none two\n\n00:00:03.000 --> 00:00:05.000\nthree four\n\n"
    )
    assert EventWriter("vtt").begin() == "WEBVTT\n\n"


@pytest.mark.parametrize("format_", FORMATS)
def test_what_an_empty_final_takes_back_is_in_jsonl_alone(format_):
    writer = EventWriter(format_, languages=("es",))
    first = [Partial(0, 0, 16_000, "one"), Final(0, 0, 32_000, ""), Translation(0, 0, 32_000, "", "es", final=True)]
    added = [writer.add(event) for event in first]
    assert all(added) if format_ == "jsonl" else not any(added)
    assert "one two" in writer.add(EVENTS[1]) + writer.end()


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_is_whole_lines(format_):
    writer = EventWriter(format_)
    for event in EVENTS:
        assert (added := writer.add(event)) == "" or added.endswith("\n")
