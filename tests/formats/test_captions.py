import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.events import Final, Word
from rtstream.formats.captions import (
    COLUMNS,
    JOINER,
    LINES,
    LONGEST_MS,
    SHORTEST_MS,
    Caption,
    captions,
    srt_cue,
    vtt_cue,
)
from rtstream.formats.lines import clean

SRT = re.compile(r"(\d+)\n(\d\d+:\d\d:\d\d,\d{3}) --> (\d\d+:\d\d:\d\d,\d{3})\n((?:[^\n]+\n){1,2})\n")
VTT = re.compile(r"(\d\d+:\d\d:\d\d\.\d{3}) --> (\d\d+:\d\d:\d\d\.\d{3})\n((?:[^\n]+\n){1,2})\n")


def ms(clock: str) -> int:
    hours, minutes, seconds = re.split("[:]", clock.replace(",", "."))
    return int(hours) * 3_600_000 + int(minutes) * 60_000 + round(float(seconds) * 1000)


def timed(text, start=0, word_ms=300, gap_ms=50):
    """A final whose words follow one another evenly; ``|`` before a word is a pause of 1.5 s."""
    words, position = [], start
    for word in text.split():
        position += 1500 * 16 if word.startswith("|") else 0
        words.append(Word(word.lstrip("|"), position, position + word_ms * 16, 0.9))
        position += (word_ms + gap_ms) * 16
    return Final(0, start, position, " ".join(word.text for word in words), tuple(words))


@st.composite
def finals(draw):
    """Finals as recognition may give them: words without any length, no words, or others than the text's."""
    texts = draw(st.lists(st.text(min_size=1, max_size=50), min_size=1, max_size=60))
    position = start = draw(st.integers(0, 10**10))
    words = []
    for text in texts:
        position += draw(st.integers(0, 40_000))
        end = position + draw(st.one_of(st.just(0), st.integers(0, 20_000)))
        words.append(Word(text, position, end, 0.5))
        position = end
    end = max(position, start + 16 * len(texts)) + draw(st.integers(0, 20_000))
    kept = draw(st.sampled_from([tuple(words), (), tuple(words[1:])]))
    return Final(0, start, end, " ".join(texts), kept)


@given(finals())
def test_captions_hold_the_whole_text_in_order_from_the_segment_on_and_never_overlap(final):
    given_ = captions(final)
    assert " ".join(line for caption in given_ for line in caption.lines) == clean(final.text)
    position = round(final.start / 16)
    for caption in given_:
        assert position <= caption.start
        assert caption.end - caption.start >= SHORTEST_MS
        position = caption.end
        assert 1 <= len(caption.lines) <= LINES
        assert all(len(line) <= COLUMNS or " " not in line for line in caption.lines)
    assert position <= max(final.end / 16 + 0.5, final.start / 16 + SHORTEST_MS * (len(given_) - 1)) + SHORTEST_MS


@given(finals())
def test_any_text_makes_well_formed_srt(final):
    document = "".join(srt_cue(number, caption) for number, caption in enumerate(captions(final), 1))
    found = list(SRT.finditer(document))
    assert "".join(match[0] for match in found) == document
    assert [int(match[1]) for match in found] == list(range(1, len(found) + 1))
    assert all(ms(match[2]) < ms(match[3]) for match in found)
    text = "".join(match[4] for match in found)
    assert not re.search(r"-->|<[a-z/]|\{\\", text, re.IGNORECASE)
    assert " ".join(text.replace(JOINER, "").split()) == clean(final.text).replace(JOINER, "")


@given(finals())
def test_any_text_makes_well_formed_vtt(final):
    document = "".join(map(vtt_cue, captions(final)))
    found = list(VTT.finditer(document))
    assert "".join(match[0] for match in found) == document
    text = "".join(match[3] for match in found)
    assert not re.search("[<>]", text)
    assert re.fullmatch(r"(?:[^&]|&(?:amp|lt|gt);)*", text)
    assert " ".join(html.unescape(line) for line in text.splitlines()) == clean(final.text)


def test_nothing_said_is_no_caption():
    assert captions(Final(0, 0, 16_000, " \n")) == []


def test_short_final_is_one_caption_at_its_words():
    assert captions(timed("so it goes", start=16_000)) == [Caption(1000, 2000, ("so it goes",), ((1000, 1350, 1700),))]


def test_short_captions_stay_a_second_and_what_follows_waits_for_that():
    first, second = captions(timed("yes |no"))
    assert (first.start, first.end) == (0, 1000)
    assert (second.start, second.end) == (1850, 2850)
    (third,) = captions(timed("so", start=2300 * 16), after=second.end)
    assert (third.start, third.end) == (2850, 3850)


@pytest.mark.parametrize(
    "text",
    [
        "The door was opened slowly by the old and faithful servant of Mr. Joseph Stirling, who looked at them.",
        "They had asked for the doctor all night long, and at last Dr. Livingstone came in and sat down there.",
        "It was written in the year of the great fire by Henry J. Pickering, who had seen all of it himself.",
        "The water in the well had risen by no less than 3.5 metres within a single day and night of rain.",
        "What she had heard of it was said by a clerk of the U.S. Senate, who was not to be named in print.",
        "All who were there that evening had read page No. 7 of the book that lay open upon the long table.",
        "We shall meet again in front of the old church of St. Mary at the end of the street, she told him.",
    ],
)
def test_no_caption_ends_behind_a_point_that_ends_no_sentence(text):
    for word_ms in (100, 200, 300, 400, 600):
        for cut in range(0, 50, 3):
            final = timed(text[text.index(" ", cut) + 1 :], word_ms=word_ms)
            for caption in captions(final)[:-1]:
                assert not re.search(r"(?:\b(?:Mr|Dr|J|U\.S|No|St)\.|\d)$", caption.lines[-1]), caption


def test_vtt_has_the_times_of_words_within_a_cue_if_asked_for():
    (caption,) = captions(timed("so it <goes>", start=16_000))
    assert vtt_cue(caption, words=True) == (
        "00:00:01.000 --> 00:00:02.000\nso <00:00:01.350>it <00:00:01.700>&lt;goes&gt;\n\n"
    )
    assert "<" not in vtt_cue(caption)


@given(finals())
def test_times_of_words_in_vtt_grow_and_lie_within_their_cue(final):
    for caption in captions(final):
        cue = vtt_cue(caption, words=True)
        begin, end = map(ms, cue.splitlines()[0].split(" --> "))
        times = [begin, *map(ms, re.findall(r"<(\d\d+:\d\d:\d\d\.\d{3})>", cue)), end]
        assert times == sorted(set(times))
        assert re.sub(r"<[\d:.]+>", "", cue) == vtt_cue(caption)


def test_words_that_were_not_timed_have_no_times_in_vtt():
    (caption,) = captions(Final(0, 0, 32_000, "so it goes"))
    assert vtt_cue(caption, words=True) == vtt_cue(caption)


def test_long_text_is_parted_evenly_into_few_captions():
    text = " ".join(["seven"] * 20)  # 119 letters and spaces: two captions
    given_ = captions(timed(text, word_ms=200))
    assert [len(" ".join(caption.lines)) for caption in given_] == [59, 59]
    assert all(len(caption.lines) == 2 for caption in given_)


def test_two_lines_are_of_about_the_same_length():
    (caption,) = captions(timed("the little woman thought that the secret might keep", word_ms=100))
    assert caption.lines == ("the little woman thought", "that the secret might keep")


def test_captions_end_with_sentences_and_at_pauses():
    text = "It was a very bright cold day in April. The clocks were striking |thirteen of them."
    given_ = captions(timed(text))
    assert [" ".join(caption.lines) for caption in given_] == [
        "It was a very bright cold day in April.",
        "The clocks were striking",
        "thirteen of them.",
    ]


def test_no_caption_stays_too_long():
    given_ = captions(timed("a b c d e f g h i j k l m n o p", word_ms=900))
    assert len(given_) == 3
    assert all(caption.end - caption.start <= LONGEST_MS for caption in given_)


def test_without_words_the_time_is_shared_by_length():
    given_ = captions(Final(0, 0, 160_000, " ".join(["seven"] * 20)))
    assert [(caption.start, caption.end) for caption in given_] == [(0, 4957), (5042, 10_000)]


@pytest.mark.parametrize(
    ("text", "srt", "vtt"),
    [
        ("fish & chips", "fish & chips", "fish &amp; chips"),
        ("a <i> b", f"a <{JOINER}i> b", "a &lt;i&gt; b"),
        ("go --> there", f"go --{JOINER}> there", "go --&gt; there"),
        ("{\\an8} up", f"{{{JOINER}\\an8}} up", "{\\an8} up"),
    ],
)
def test_markup_is_taken_as_text(text, srt, vtt):
    caption = Caption(0, 3_723_004, (text,))
    assert srt_cue(7, caption) == f"7\n00:00:00,000 --> 01:02:03,004\n{srt}\n\n"
    assert vtt_cue(caption) == f"00:00:00.000 --> 01:02:03.004\n{vtt}\n\n"
