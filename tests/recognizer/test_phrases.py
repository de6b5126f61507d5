import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.errors import ConfigError
from rtstream.recognizer.phrases import MAX_CHARACTERS, MAX_PHRASES, Phrase, Spelling, parse_phrase, parse_phrases


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("rtstream", Phrase("rtstream")),
        ("Grafana=2.0", Phrase("Grafana", 2.0)),
        ("  New   Relic = .5 ", Phrase("New Relic", 0.5)),
        ("Wi-Fi", Phrase("Wi-Fi")),
        ("O'Brien", Phrase("O'Brien")),
        ("Zoë Müller", Phrase("Zoë Müller")),
        ("Node.js=5", Phrase("Node.js", 5.0)),
        ("Łódź, Straße".replace(",", ""), Phrase("Łódź Straße")),
        ("Москва=2", Phrase("Москва", 2.0)),
    ],
)
def test_a_phrase_is_what_the_user_writes_and_its_weight(text, phrase):
    assert parse_phrase(text) == phrase


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x=abc", "the weight 'abc' is not a number; write PHRASE=WEIGHT"),
        ("Grafana=abc", "the weight 'abc' is not a number"),
        ("Grafana=", "the weight '' is not a number"),
        ("a=b=2", "the weight 'b=2' is not a number"),
        ("Graf=fana", "the weight 'fana' is not a number"),
        ("Grafana=1=2", "the weight '1=2' is not a number"),
        ("Grafana=0", "more than 0 and at most 5"),
        ("Grafana=-1", "more than 0 and at most 5"),
        ("Grafana=5.1", "more than 0 and at most 5"),
        ("Grafana=nan", "more than 0 and at most 5"),
        ("Grafana=inf", "more than 0 and at most 5"),
        ("", "too few letters, at least 3"),
        ("  ", "too few letters, at least 3"),
        ("=2", "too few letters, at least 3"),
        ("AI", "too few letters, at least 3"),
        ("...", "too few letters, at least 3"),
        ("C++", "'+' cannot be heard"),
        ("Windows 11", "'1' cannot be heard"),
        ("Grafana, Inc", "',' cannot be heard"),
        ("그라파나", "cannot be heard"),
        ("Graf\x00ana", "'\\x00' cannot be heard"),
        ("a" * (MAX_CHARACTERS + 1), f"{MAX_CHARACTERS} are allowed"),
        ("Grafana=" + "1" * 100_000 + "x", "is not a number"),
        ("a" * 100_000, f"{MAX_CHARACTERS} are allowed"),
    ],
)
def test_what_is_no_phrase_is_told_in_one_short_line(text, told):
    with pytest.raises(ConfigError) as error:
        parse_phrase(text)
    assert told in str(error.value)
    assert str(error.value).startswith("phrase '")
    assert len(str(error.value)) < 250
    assert "\n" not in str(error.value)


@given(st.text(alphabet="aZé'-. =1\n", max_size=12) | st.text(max_size=80))
def test_any_text_is_a_phrase_that_reads_back_or_an_error(text):
    try:
        phrase = parse_phrase(text)
    except ConfigError:
        return
    assert parse_phrase(f"{phrase.text}={phrase.weight}") == phrase


def test_of_phrases_with_the_same_letters_the_last_counts():
    assert parse_phrases(["grafana", "Zigbee", "Grafana=2"]) == (Phrase("Zigbee"), Phrase("Grafana", 2.0))
    assert parse_phrases(["Muller", "Müller"]) == (Phrase("Müller"),)


def test_too_many_phrases_are_refused():
    names = ["".join(chr(97 + int(digit)) for digit in f"{n:05}") for n in range(MAX_PHRASES + 1)]
    assert len(parse_phrases(names[:-1])) == MAX_PHRASES
    with pytest.raises(ConfigError, match=f"more than {MAX_PHRASES}"):
        parse_phrases(names)


SPELLING = Spelling(parse_phrases(["Grafana", "New Relic", "New York Times", "York", "Wendy's", "iOS"]))


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("open grafana now", "open Grafana now"),
        ("Grafana, please. (grafana)", "Grafana, please. (Grafana)"),
        ("grafana's panels", "Grafana's panels"),
        ("at wendy's", "at Wendy's"),
        ("GRAFANA", "Grafana"),
        ("the new relic was old", "the New Relic was old"),
        ("the new, relic", "the new, relic"),
        ("the new york times", "the New York Times"),
        ("new york", "new York"),
        ("on ios.", "on iOS."),
        ("grafanas", "grafanas"),
        ("", ""),
    ],
)
def test_phrases_are_written_as_the_user_writes_them(said, written):
    assert " ".join(SPELLING.write(said.split())) == written


@pytest.mark.parametrize(
    ("language", "phrase", "said", "written"),
    [
        ("de", "Müller", "herr muller, bitte", "herr Müller, bitte"),
        ("pt", "São Paulo", "em sao paulo.", "em São Paulo."),
        ("fr", "L'Oréal", "chez l'oreal", "chez L'Oréal"),
        ("fr", "Élysée", "(l'elysée)", "(l'Élysée)"),
        ("it", "Aquila", "dell'aquila!", "dell'Aquila!"),
        ("es", "Aquila", "dell'aquila", "dell'aquila"),
        ("nl", "Zoë", "zoe's fiets", "Zoë's fiets"),
        ("de", "Zoë", "zoe's", "zoe's"),
        ("pl", "Łódź", "Lodz", "Łódź"),
        ("ru", "Чайка", "это чайка.", "это Чайка."),
    ],
)
def test_accents_do_not_count_and_what_a_language_joins_to_a_name_stays(language, phrase, said, written):
    assert " ".join(Spelling(parse_phrases([phrase])).write(said.split(), language)) == written


@given(st.lists(st.sampled_from(["new", "York", "relic,", "grafana", "times", "a"]), max_size=8))
def test_spelling_changes_no_letter_and_what_is_spelt_stays(words):
    written = SPELLING.write(words)
    assert " ".join(written).lower() == " ".join(words).lower()
    assert SPELLING.write(written) == written
