"""num2words' languages are imported one at a time."""

import subprocess
import sys

import pytest

from rtstream.recognizer.number_converters import converter


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "twenty-one"), ("es", "veintiuno"), ("fr", "vingt et un"), ("de", "einundzwanzig"),
        ("pt", "vinte e um"), ("it", "ventuno"), ("nl", "eenentwintig"), ("pl", "dwadzieścia jeden"),
        ("ca", "vint-i-un"), ("ru", "двадцать один"),
    ],
)  # fmt: skip
def test_each_language_counts(language, words):
    assert converter(language).to_cardinal(21) == words


def test_a_language_without_a_converter_is_an_error():
    with pytest.raises(ModuleNotFoundError):
        converter("xx")


def test_only_what_is_used_is_imported():
    program = (
        "import sys; from rtstream.recognizer.numbers import cardinal; cardinal(5); "
        "print(*sorted(name.rpartition('.')[2] for name in sys.modules if 'lang_' in name), 'num2words' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["lang_EN", "lang_EU", "False"]
