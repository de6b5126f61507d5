import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rtstream.events import Final, Partial, Translation
from rtstream.formats.bilingual import MOST_WAITING, Waiting, add_translations, bilingual
from rtstream.formats.captions import COLUMNS, captions
from rtstream.formats.lines import clean
from rtstream.formats.writer import EventWriter

texts = st.lists(st.text(min_size=1, max_size=50), max_size=40).map(" ".join)


def final(segment, text="one two"):
    return Final(segment, segment * 48_000, segment * 48_000 + 32_000, text)


def translation(segment, text="uno dos", language="es", *, final=True):
    return Translation(segment, segment * 48_000, segment * 48_000 + 32_000, text, language, final)


@given(texts, texts, st.sampled_from(["es", "ja"]))
def test_translation_is_parted_whole_and_in_order_below_the_captions(text, translated, language):
    plain = captions(Final(0, 0, 3_200_000, text), lines=1)
    both = add_translations(plain, {language: translated})
    assert [caption.start for caption in both] == [caption.start for caption in plain]
    below = []
    for caption, own in zip(both, plain, strict=True):
        assert caption.lines[: len(own.lines)] == own.lines
        below += caption.lines[len(own.lines) :]
    if plain:
        assert "".join("".join(below).split()) == "".join(clean(translated).split())
    assert all(len(line) <= COLUMNS or " " not in line for line in below)


@given(texts)
def test_captions_of_one_line_are_as_long_as_one(text):
    for caption in captions(Final(0, 0, 3_200_000, text), lines=1):
        assert len(caption.lines) == 1 or len(" ".join(caption.lines).split()) == 1


def test_longer_translation_stays_one_line_below_each_caption():
    text = "a high wall fifteen feet in height divided the yard of the men from that of the women of the town"
    longer = " ".join(f"{word}{word[:2]}" for word in text.split())
    both = bilingual(Final(0, 0, 320_000, text), {"xx": longer})
    assert all(len(caption.lines) == 2 for caption in both)
    assert all(len(line) <= COLUMNS for caption in both for line in caption.lines)
    assert " ".join(caption.lines[1] for caption in both) == longer
    assert [len(caption.lines) for caption in bilingual(Final(0, 0, 160_000, text), {})] == [2, 2]


def test_share_of_a_caption_is_that_of_its_text():
    text = "a high wall fifteen feet in height divided the yard of the men from that of the women"
    both = add_translations(captions(Final(0, 0, 160_000, text), lines=1), {"xx": text})
    for caption in both:
        own, *below = caption.lines
        assert abs(len(own) - len(" ".join(below))) < 10


def test_srt_has_the_original_and_below_it_the_translations():
    writer = EventWriter("srt", languages=("es", "de"))
    events = [Partial(0, 0, 1, "one"), final(0), translation(0, final=False), translation(0)]
    assert [writer.add(event) for event in events] == [""] * 4
    assert writer.add(translation(0, "eins zwei", "de")) == (
        "1\n00:00:00,000 --> 00:00:02,000\none two\nuno dos\neins zwei\n\n"
    )
    assert writer.end() == ""


def test_vtt_escapes_translations_too():
    writer = EventWriter("vtt", languages=("es",))
    writer.add(final(0))
    assert writer.add(translation(0, "<b>uno")).endswith("\none two\n&lt;b&gt;uno\n\n")


def test_final_whose_translation_was_passed_over_goes_without():
    writer = EventWriter("srt", languages=("es",))
    for segment in range(3):
        assert writer.add(final(segment)) == ""
    assert re.findall(r"uno|one", writer.add(translation(1))) == ["one", "one", "uno"]
    assert writer.end() == "3\n00:00:06,000 --> 00:00:08,000\none two\n\n"


def test_finals_do_not_wait_for_ever():
    waiting = Waiting(("es",))
    given_ = [ready.segment for number in range(3 * MOST_WAITING) for ready, _ in waiting.add(final(number))]
    assert given_ == list(range(2 * MOST_WAITING))


def test_a_final_does_not_wait_for_a_translation_into_its_own_language():
    waiting = Waiting(("en", "de"))
    english, spanish = (replace(final(number), language=name) for number, name in enumerate(("en", "es")))
    assert waiting.add(english) == waiting.add(spanish) == []
    assert waiting.add(translation(0, "eins", "de")) == [(english, {"de": "eins"})]
    assert waiting.add(translation(1, "one", "en")) == []
    assert waiting.add(translation(1, "", "de")) == [(spanish, {"en": "one"})]


def test_late_translations_are_passed_over():
    waiting = Waiting(("es",))
    waiting.add(final(5))
    assert waiting.add(translation(4)) == []
    assert waiting.add(translation(5, language="fr")) == []
    assert [(f.segment, t) for f, t in waiting.rest()] == [(5, {})]


def test_language_that_was_asked_for_matches_a_more_exact_one():
    waiting = Waiting(("pt",))
    waiting.add(final(0))
    assert waiting.add(translation(0, "um", "pt-BR")) == [(final(0), {"pt": "um"})]


def test_text_has_a_line_for_the_translation_when_it_comes():
    writer = EventWriter("text", languages=("es",))
    assert writer.add(final(0)) == "[00:00.00 - 00:02.00] one two\n"
    assert writer.add(translation(0, final=False)) == ""
    assert writer.add(translation(0)) == "[00:00.00 - 00:02.00] es: uno dos\n"
    assert writer.end() == ""
