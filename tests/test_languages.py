import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.languages import canonical, choose, join_words, known_as, read_choice, split_words, within


@pytest.mark.parametrize(
    ("given_", "tag"),
    [("es", "es"), ("PT_br", "pt-BR"), ("zh-hant", "zh-Hant"), ("ZH_HANT_tw", "zh-Hant-TW"), (" es-419 ", "es-419")],
)
def test_tag_is_written_as_usual(given_, tag):
    assert canonical(given_) == tag
    assert canonical(tag) == tag


@pytest.mark.parametrize("text", ["", "e", "spanish", "es-", "es-MX-", "es,fr", "español", "es MX", "12"])
def test_what_is_no_tag_is_an_error_that_quotes_it(text):
    with pytest.raises(ValueError, match="is no language tag") as error:
        canonical(text)
    assert repr(text) in str(error.value)


def test_what_may_be_spoken_is_any_language_or_one_or_a_list():
    assert read_choice("auto") == read_choice(["auto"]) == read_choice([]) == ()
    assert read_choice("es") == ("es",)
    assert read_choice("es, PT_br,es") == read_choice(["es", "pt-BR"]) == ("es", "pt-BR")
    for wrong in ("", "spanish", "en,", "en,auto"):
        with pytest.raises(ValueError, match="is no language tag"):
            read_choice(wrong)


def test_model_recognises_the_languages_that_it_knows_in_whatever_region():
    assert choose((), ["en", "es", "pt"]) == ("en", "es", "pt")
    assert choose(("pt-BR", "es-MX", "es"), ["en", "es", "pt"]) == ("pt", "es")
    with pytest.raises(ValueError, match="'fr' is not known to this model, only en, es"):
        choose(("en", "fr"), ["en", "es"])


def test_language_stands_for_its_scripts_and_regions():
    assert within("pt-BR", "pt")
    assert within("pt", "pt")
    assert not within("pt", "pt-BR")
    assert not within("ptx", "pt")


@given(st.text(), st.sampled_from(["es", "zh", "zh-Hant", "ja"]))
def test_words_make_the_text_again(text, language):
    words = split_words(text, language)
    again = join_words(words, language)
    assert split_words(again, language) == words
    assert "".join(again.split()) == "".join(text.split())


def test_chinese_is_counted_in_characters():
    assert split_words("你好 吗", "zh-Hans") == ["你", "好", "吗"]
    assert split_words("a b", "es") == ["a", "b"]


def test_language_is_known_as_itself_or_as_what_it_is_a_region_of():
    assert known_as("pt-BR", ["pt", "pt-BR"]) == "pt-BR"
    assert known_as("pt-BR", ["es", "pt"]) == "pt"
    assert known_as("pt", ["pt-BR"]) is None
