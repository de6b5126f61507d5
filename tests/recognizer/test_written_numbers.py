"""Numbers, dates, times, sums and ordinals as they are said, and what is written of them in each form."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.events import Final, Word
from rtstream.recognizer.number_forms import NUMBER_FORMS
from rtstream.recognizer.written_numbers import number_final, spans, write_numbers

ROOT = Path(__file__).parents[2]
DIGITS = [
    ("zero", "0"),
    ("I have seven dogs.", "I have 7 dogs."),
    ("twelve", "12"),
    ("twenty one", "21"),
    ("Thirty-five people", "35 people"),
    ("ninety-nine", "99"),
    ("a hundred people", "100 people"),
    ("one hundred and five", "105"),
    ("two hundred thirty-four", "234"),
    ("nineteen hundred", "1900"),
    ("twenty five hundred", "2500"),
    ("two thousand five", "2005"),
    ("one thousand two hundred", "1200"),
    ("twelve thousand", "12,000"),
    ("one million two hundred thirty four thousand five hundred sixty seven", "1,234,567"),
    ("1 million two hundred thirty four thousand five hundred sixty seven.", "1,234,567."),
    ("The population is 1,234,567.", "The population is 1,234,567."),
    ("three million", "3 million"),
    ("two billion people", "2 billion people"),
    ("minus five", "-5"),
    # digit by digit
    ("eight zero zero five five five oh one nine nine", "8005550199"),
    ("Call eight hundred five five five oh one nine nine.", "Call 8005550199."),
    ("triple five oh one double nine", "5550199"),
    ("8 0 0 5 5 5 0 1 9 9", "8005550199"),
    ("8-0-0-5-5-5-0-1-9-9", "8005550199"),
    ("555-0199", "5550199"),
    ("one 5 2 2 one", "15221"),
    ("Four, one, one, one, one, one.", "411111."),
    ("6. 8. 6. 0. 8. 3.", "686083."),
    ("4 11 11 11 11", "411111111"),
    ("fifty six oh five", "5605"),
    ("oh four one five", "0415"),
    ("one nine two point one six eight point zero point one", "192.168.0.1"),
    ("area code four one two four two two one two two five", "area code 4124221225"),
    # years
    ("in nineteen ninety five", "in 1995"),
    ("in nineteen oh seven", "in 1907"),
    ("twenty nineteen", "2019"),
    ("in the nineteen nineties", "in the 1990s"),
    ("the nineties", "the nineties"),
    ("He was born in eighteen seventy seven, in Berlin.", "He was born in 1877, in Berlin."),
    # times
    ("at seven thirty", "at 7:30"),
    ("It is seven thirty.", "It is 7:30."),
    ("seven thirty p.m.", "7:30 p.m."),
    ("730 p.m.", "7:30 p.m."),
    ("It is 730.", "It is 7:30."),
    ("It is 2005.", "It is 2005."),
    ("by nineteen fifty", "by 1950"),
    ("at fourteen thirty", "at 14:30"),
    ("It lies at 730 Main Street.", "It lies at 730 Main Street."),
    ("at seven oh five", "at 7:05"),
    ("seven o'clock", "7:00"),
    ("seven p.m. sharp", "7 p.m. sharp"),
    ("half past seven", "7:30"),
    ("a quarter past four", "4:15"),
    ("It is half-past four.", "It is 4:30."),
    ("a quarter-to nine", "8:45"),
    ("quarter to one", "12:45"),
    ("7:30", "7:30"),
    # decimals, shares, sums
    ("three point five", "3.5"),
    ("three point one four one five", "3.1415"),
    ("zero point two five", "0.25"),
    ("one point five million", "1.5 million"),
    ("fifty percent", "50%"),
    ("two point five per cent", "2.5%"),
    ("two hundred fifty dollars", "$250"),
    ("five dollars and twenty cents", "$5.20"),
    ("one dollar", "$1"),
    ("five million dollars", "$5 million"),
    ("one point five million dollars", "$1.5 million"),
    ("ten euros", "€10"),
    ("$250", "$250"),
    ("for 1.2 million dollars", "for $1.2 million"),
    ("by 3.5 percent", "by 3.5%"),
    ("for 2.50 dollars and twenty cents", "for $2.50 and 20 cents"),
    ("version 1.2", "version 1.2"),
    # dates
    ("March third", "March 3"),
    ("March 3rd", "March 3"),
    ("March the twenty first", "March 21"),
    ("October thirtieth, nineteen sixty one", "October 30, 1961"),
    ("July twenty nine nineteen sixty nine", "July 29, 1969"),
    ("January 15th 1963", "January 15, 1963"),
    ("March nineteen sixty one", "March 1961"),
    # ordinals
    ("the twenty first", "the 21st"),
    ("the twenty-second time", "the 22nd time"),
    ("the twelfth man", "the 12th man"),
    ("the one hundred fifth", "the 105th"),
    ("the eleventh hour", "the 11th hour"),
    ("the one hundredth day", "the 100th day"),
    ("the two thousandth visitor", "the 2000th visitor"),
    ("one hundredth of a second", "one hundredth of a second"),
    # words that stay
    ("One of them left.", "One of them left."),
    ("no one", "no one"),
    ("First of all, wait a second.", "First of all, wait a second."),
    ("two thirds", "two thirds"),
    ("fifty-fifty", "fifty-fifty"),
    ("hundreds of thousands", "hundreds of thousands"),
    ("You may three times", "You may 3 times"),
    ("Oh, I see.", "Oh, I see."),
    ("a one-way street", "a one-way street"),
    ("In 1877, 3 of them left.", "In 1877, 3 of them left."),
    ("", ""),
    ("no numbers here", "no numbers here"),
]

WORDS = [
    ("I have 7 dogs.", "I have seven dogs."),
    ("21", "Twenty one"),
    (
        "It has 1,234,567 people.",
        "It has one million two hundred thirty four thousand five hundred sixty seven people.",
    ),
    ("It was 1995.", "It was nineteen ninety five."),
    ("call 8005550199", "call eight zero zero five five five zero one nine nine"),
    ("call 555-0199.", "call five five five zero one nine nine."),
    ("call 800-555-0199", "call eight zero zero five five five zero one nine nine"),
    ("twenty-one, seventy-five. Twenty-first!", "twenty one, seventy five. Twenty first!"),
    ("at six-fifteen", "at six fifteen"),
    ("half-past four", "half past four"),
    ("fifty-fifty", "fifty-fifty"),
    ("a well-known one-way street", "a well-known one-way street"),
    ("fifty per cent.", "fifty percent."),
    ("agent 007", "agent zero zero seven"),
    ("at 7:30 p.m.", "at seven thirty p.m."),
    ("at 7:00", "at seven o'clock"),
    ("about 3.5", "about three point five"),
    ("by 50%.", "by fifty percent."),
    ("by 3.5%.", "by three point five percent."),
    ("for $1", "for one dollar"),
    ("for $1.5 million.", "for one point five million dollars."),
    ("for $1.25 million", "for one point two five million dollars"),
    ("for $1.5", "for one point five dollars"),
    ("for $250", "for two hundred fifty dollars"),
    ("for $5.20", "for five dollars twenty cents"),
    ("for $5 million.", "for five million dollars."),
    ("on March 3", "on March third"),
    ("on October 30, 1961", "on October thirtieth, nineteen sixty one"),
    ("in March 1961", "in March nineteen sixty one"),
    ("You may 3 times", "You may three times"),
    ("May 3 of them come?", "May three of them come?"),
    ("on March 3rd", "on March third"),
    ("the 21st", "the twenty first"),
    ("the 1990s", "the nineteen nineties"),
    ("at -5", "at minus five"),
    ("seven dogs", "seven dogs"),
]


@pytest.mark.parametrize(("said", "written"), DIGITS)
def test_in_digits(said, written):
    assert write_numbers(said, "digits") == written
    assert write_numbers(written, "digits") == written


def test_the_documentation_says_what_is_written():
    table = (ROOT / "docs" / "numbers.md").read_text().partition("| said | written |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) > 8
    for said, written in rows:
        assert [write_numbers(each, "digits") for each in said.split("; ")] == written.split("; ")


@pytest.mark.parametrize(("said", "written"), WORDS)
def test_in_words(said, written):
    assert write_numbers(said, "words") == written
    assert write_numbers(written, "words") == written


@pytest.mark.parametrize("text", [text for text, _ in DIGITS + WORDS])
def test_as_spoken_is_what_the_model_writes(text):
    assert write_numbers(text, "as spoken") == text


SOME = """zero oh one two five ten thirteen twenty thirty-one hundred thousand million and point dollars percent a.m.
    o'clock half past quarter to March the third twenty-first double 7 12 1961 1,000 7:30 $5 3rd - , . dog, 5. (six)
    4-1-1"""


@given(st.lists(st.sampled_from(SOME.split()), max_size=9), st.sampled_from(NUMBER_FORMS))
def test_every_word_of_any_text_is_part_of_one_span(words, form):
    found = spans(words, form)
    covered = [place for span in found for place in range(span.first, span.last + 1)]
    assert covered == list(range(len(words)))


def test_words_of_a_final_keep_their_times():
    said = ["at", "seven", "thirty", "today"]
    words = [Word(text, 100 * at, 100 * at + 90, 0.1 * (at + 1)) for at, text in enumerate(said)]
    final = Final(1, 0, 400, "at seven thirty today", tuple(words), "decoder")
    found = number_final(final, "digits")
    assert found.text == "at 7:30 today" == " ".join(word.text for word in found.words)
    assert [(word.start, word.end) for word in found.words] == [(0, 90), (100, 290), (300, 390)]
    assert [round(word.confidence, 1) for word in found.words] == [0.1, 0.2, 0.4]
    back = number_final(found, "words")
    assert [(word.text, word.start, word.end) for word in back.words][1:3] == [
        ("seven", 100, 195),
        ("thirty", 195, 290),
    ]
    assert number_final(final, "as spoken") is final
