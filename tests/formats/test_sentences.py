import pytest

from rtstream.formats.sentences import ends_sentence, may_part


@pytest.mark.parametrize(
    ("word", "following"),
    [
        *(("day.", "We"), ("day?", "We"), ("day!", "We"), ('day."', "We"), ("day.”", "“We"), ("day…", "We")),
        *(("day.", "3"), ("7.", "We"), ("No.", "We"), ("p.m.", "We"), ("etc.", "We"), ("(day.)", "We")),
    ],
)
def test_sentence_ends_behind_its_point(word, following):
    assert ends_sentence(word, following)
    assert may_part(word, following)


@pytest.mark.parametrize(
    ("word", "following"),
    [
        *(("Mr.", "Joseph"), ("Mrs.", "Dalloway"), ("Dr.", "No"), ("St.", "Mary"), ("“Mr.", "Joseph")),
        *(("J.", "Smith"), ("J.R.R.", "Tolkien"), ("U.S.", "Senate"), ("e.g.", "This"), ("vs.", "Kramer")),
        *(("3.", "5"), ("No.", "5"), ("3.5", "metres"), ("$250", "million"), ("7:30", "tonight"), ("12", "apples")),
    ],
)
def test_what_belongs_together_is_not_parted(word, following):
    assert not ends_sentence(word, following)
    assert not may_part(word, following)


@pytest.mark.parametrize(("word", "following"), [("p.m.", "on"), ("Well...", "maybe"), ("day", "We"), ("day,", "we")])
def test_within_a_sentence_words_may_be_parted(word, following):
    assert not ends_sentence(word, following)
    assert may_part(word, following)
