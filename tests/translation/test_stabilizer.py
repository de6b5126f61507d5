import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtstream.events import Final, Partial, Translation
from rtstream.languages import split_words
from rtstream.translation.ctranslate2 import CTranslate2Translator
from rtstream.translation.stabilizer import Stabilizer, StabilizerConfig

TEXT = "a high wall fifteen feet in height divided the female's courtyard from the men's"
WORDS = TEXT.split()


class Moody:
    """Translates each word by a number that depends on all words, so that every new word changes everything."""

    languages = ("xx", "zh")

    def translate(self, text, language, prefix=""):
        words = [f"{word}{len(text)}" for word in text.split()]
        begun = len(split_words(prefix, language))
        tail = (words if language == "xx" else [str(len(text) % 10) for _ in words])[begun:]
        return (" " if language == "xx" else "").join([*([prefix] if prefix else []), *tail])


def partials(words, segment=0):
    return [
        Partial(segment, 100 * segment, 100 * segment + 10 * n, " ".join(words[:n])) for n in range(1, len(words) + 1)
    ]


def translated(stabilizer, events):
    return [translation for event in events if (translation := stabilizer.translate(event)) is not None]


@pytest.fixture(scope="module")
def shouter(shouting):
    return CTranslate2Translator.open(shouting, ["es"])


@pytest.mark.parametrize("mask", [0, 1, 3, 20])
def test_last_words_of_a_partial_are_not_shown_and_a_final_is_whole(shouter, mask):
    stabilizer = Stabilizer(shouter, "es", StabilizerConfig(mask=mask))
    shown = translated(stabilizer, partials(WORDS))
    expected = [" ".join(WORDS[: n - mask]).upper() for n in range(1, len(WORDS) + 1) if n > mask]
    assert [translation.text for translation in shown] == expected
    final = Final(0, 0, 200, TEXT)
    assert stabilizer.translate(final) == Translation(0, 0, 200, TEXT.upper(), "es", final=True)


def test_translation_has_the_place_of_what_is_translated(shouter):
    stabilizer = Stabilizer(shouter, "es", StabilizerConfig(mask=1))
    assert stabilizer.translate(Partial(7, 1_000, 2_000, "two words")) == Translation(
        7, 1_000, 2_000, "TWO", "es", final=False
    )


@settings(max_examples=50)
@given(
    words=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=8),
    mask=st.integers(0, 4),
    language=st.sampled_from(["xx", "zh"]),
    left_out=st.sets(st.integers(0, 7)),
    keep=st.sampled_from(["partials", "all"]),
)
def test_what_was_shown_is_never_taken_back_while_the_segment_is_spoken(words, mask, language, left_out, keep):
    stabilizer = Stabilizer(Moody(), language, StabilizerConfig(mask=mask, keep=keep))
    events = [event for number, event in enumerate(partials(words)) if number not in left_out]
    for before, after in itertools.pairwise(translated(stabilizer, events)):
        assert after.text.startswith(before.text)
        assert len(after.text) > len(before.text)


def test_partials_may_have_a_quicker_translator(shouter):
    class Quick:
        def translate(self, text, language, prefix=""):  # noqa: ARG002 - a translator's signature
            return text.replace("o", "0")

    stabilizer = Stabilizer(shouter, "es", StabilizerConfig(mask=0), partials=Quick())
    assert stabilizer.translate(Partial(0, 0, 5, "so it")).text == "s0 it"
    assert stabilizer.translate(Final(0, 0, 9, "so it goes")).text == "SO IT GOES"


def test_beginning_of_a_sentence_is_not_shown_as_a_whole_one():
    class Ending:
        """Ends whatever it translates, if it does not have to go on."""

        def translate(self, text, language, prefix=""):  # noqa: ARG002 - a translator's signature
            words = text.strip(".").upper().split()
            return prefix if prefix.endswith(".") else " ".join([prefix, *words[len(prefix.split()) :]]).strip() + "."

    stabilizer = Stabilizer(Ending(), "xx", StabilizerConfig(mask=0))
    shown = translated(stabilizer, [*partials(["so", "it", "goes."]), Partial(0, 0, 9, "so it goes. and on")])
    assert [translation.text for translation in shown] == ["SO", "SO IT", "SO IT GOES."]


def test_free_translations_follow_the_newest_text():
    stabilizer = Stabilizer(Moody(), "xx", StabilizerConfig(mask=0, keep="nothing"))
    shown = translated(stabilizer, partials(["a", "b"]))
    assert [translation.text for translation in shown] == ["a1", "a3 b3"]


@pytest.mark.parametrize(("keep", "final"), [("nothing", "a3 b3"), ("partials", "a3 b3"), ("all", "a1 b3")])
def test_final_is_translated_anew_unless_everything_is_kept(keep, final):
    stabilizer = Stabilizer(Moody(), "xx", StabilizerConfig(mask=0, keep=keep))
    shown = translated(stabilizer, [Partial(0, 0, 10, "a"), Final(0, 0, 20, "a b")])
    assert [translation.text for translation in shown] == ["a1", final]


def test_no_news_is_no_translation(shouter):
    stabilizer = Stabilizer(shouter, "es", StabilizerConfig(mask=0))
    assert stabilizer.translate(Partial(0, 0, 10, "one")) is not None
    assert stabilizer.translate(Partial(0, 0, 20, "one")) is None
    assert stabilizer.translate(Partial(0, 0, 20, " ")) is None


@pytest.mark.parametrize("with_final", [True, False])
def test_segments_begin_anew(shouter, with_final):
    stabilizer = Stabilizer(shouter, "es", StabilizerConfig(mask=0))
    stabilizer.translate(Partial(0, 0, 10, "one"))
    if with_final:  # it may fail, or the recognition of its segment may
        stabilizer.translate(Final(0, 0, 20, "one two"))
    assert stabilizer.translate(Partial(1, 30, 40, "other")).text == "OTHER"


def test_context_is_translated_too_and_not_given_again(shouter):
    class Noting:
        languages = ("es",)
        texts = ()

        def translate(self, text, language, prefix=""):
            self.texts = (*self.texts, text)
            return shouter.translate(text, language, prefix)

    noting = Noting()
    stabilizer = Stabilizer(noting, "es", StabilizerConfig(mask=0, context=2))
    events = [Final(0, 0, 10, "one"), Final(1, 20, 30, "two"), *partials(["three", "four"], 2)]
    events += [Final(2, 40, 50, "three four"), Final(3, 60, 70, "five")]
    assert [translation.text for translation in translated(stabilizer, events)] == [
        *("ONE", "TWO", "THREE", "THREE FOUR", "THREE FOUR", "FIVE")
    ]
    assert noting.texts == (
        *("one", "one two", "one two three", "one two three four", "one two three four", "two three four five"),
    )


def test_what_an_empty_final_takes_back_has_an_empty_translation_and_is_no_context():
    asked = []

    class Asked:
        def translate(self, text, _language, prefix):
            asked.append(text)
            return prefix

    stabilizer = Stabilizer(Asked(), "es", StabilizerConfig(mask=0, context=2))
    assert stabilizer.translate(Final(0, 0, 10, "")) == Translation(0, 0, 10, "", "es", final=True)
    assert asked == []
    stabilizer.translate(Final(1, 10, 20, "so it goes"))
    assert asked == ["so it goes"]
