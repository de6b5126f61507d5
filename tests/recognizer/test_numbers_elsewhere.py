"""Numbers of other languages in digits and in words, where that is certain."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtstream.events import Final, Word
from rtstream.model.letters import fold
from rtstream.recognizer.number_converters import converter
from rtstream.recognizer.numbers_elsewhere import RULES, value
from rtstream.recognizer.written_numbers import number_final, write_numbers

DIGITS = {
    "es": [
        ("tengo dos gatos y una casa", "tengo 2 gatos y una casa"),
        ("en mil novecientos noventa y cinco.", "en 1995."),
        ("doscientas mujeres", "200 mujeres"),
        ("el cincuenta por ciento", "el 50%"),
        ("tres coma cinco, por ciento", "3,5, por ciento"),
        ("doce mil personas", "12.000 personas"),
        ("tres millones de euros", "3 millones de euros"),
        ("miles de euros y mil gracias", "miles de euros y mil gracias"),
        ("seis cero cero, uno", "6 0 0, uno"),
        ("seis cero cero doce treinta y cuatro", "6001234"),
    ],
    "fr": [
        ("mille neuf cent quatre-vingt-quinze", "1995"),
        ("quatre-vingt-dix-huit", "98"),
        ("un homme neuf, dix hommes", "un homme neuf, 10 hommes"),
        ("vingt pour cent", "20 %"),
        ("pour cent euros", "pour cent euros"),
        ("septante et un", "71"),
        ("zéro six douze trente-quatre", "061234"),
        ("trois virgule quatorze", "3,14"),
    ],
    "de": [
        ("Neunzehnhundertfünfundneunzig war gut.", "1995 war gut."),
        ("zweitausenddreiundzwanzig", "2023"),
        ("zwölftausend", "12.000"),
        ("ein Haus außer Acht", "ein Haus außer Acht"),
        ("drei Komma fünf Prozent!", "3,5 %!"),
        ("tausend Dank", "tausend Dank"),
        ("zwei Millionen", "2 Millionen"),
    ],
    "pt": [("dois mil e cinco", "2005"), ("dezesseis ou dezasseis", "16 ou 16"), ("uma casa", "uma casa")],
    "it": [
        ("duemilacinque", "2005"),
        ("tu sei qui", "tu sei qui"),
        ("ventun anni", "21 anni"),
        ("il venti per cento", "il venti per cento"),
        ("il trenta per cento", "il 30%"),
    ],
    "nl": [("vijfentwintig procent", "25%"), ("acht", "acht"), ("duizend tweehonderd", "1200")],
    "pl": [
        ("tysiąc dziewięćset dziewięćdziesiąt pięć", "1995"),
        ("dwanaście tysięcy", "12000"),
        ("tysiące ludzi", "tysiące ludzi"),
        ("pięć procent", "5%"),
    ],
    "ca": [("vint-i-un", "21"), ("dos-cents", "200"), ("tinc set", "tinc set"), ("nou", "nou")],
    "ru": [
        ("двадцать пять процентов", "25%"),
        ("тысяча девятьсот девяносто пять", "1995"),
        ("тысячи людей в семью", "тысячи людей в семью"),
        ("к пяти часам", "к 5 часам"),
    ],
    "sv": [("tjugo", "tjugo")],
}
WORDS = {
    "es": [
        ("5 gatos", "Cinco gatos"),
        ("hay 12.000 y 50%", "hay doce mil y cincuenta por ciento"),
        ("el 50 %, sí", "el cincuenta por ciento, sí"),
        ("son 21 personas y 200 mujeres", "son 21 personas y 200 mujeres"),
        ("en 1995", "en mil novecientos noventa y cinco"),
        ("3,5", "Tres coma cinco"),
        ("son 20€ a las 7:30", "son 20€ a las 7:30"),
        ("al 612345678", "al seis uno dos tres cuatro cinco seis siete ocho"),
        ("a 17000 personas, código 17035", "a diecisiete mil personas, código 17035"),
        ("a 4,50 $ o 50 €.", "a 4,50 $ o 50 €."),
        ("al (916) 588-4117", "al (916) 588-4117"),
    ],
    "fr": [("le 06 12 34", "le 06 12 34"), ("les 75", "les soixante-quinze"), ("12 000 fois", "12 000 fois")],
    "de": [
        ("im Jahr 1995", "im Jahr neunzehnhundertfünfundneunzig"),
        ("1 Haus", "1 Haus"),
        ("am 22. Mai um 20 Uhr", "am 22. Mai um zwanzig Uhr"),
    ],
    "it": [("ho 23 anni", "ho ventitré anni"), ("1 casa", "1 casa")],
    "nl": [("in 1995", "in negentienhonderdvijfennegentig"), ("1.200", "Duizend tweehonderd")],
    "pt": [("2 casas, 16 casas, 30 casas", "2 casas, 16 casas, trinta casas")],
    "ca": [("25 cases", "Vint-i-cinc cases")],
    "pl": [("do 5 domów", "do 5 domów")],
    "ru": [("к 5 часам", "к 5 часам")],
    "sv": [("20 hus", "20 hus")],
}


@pytest.mark.parametrize(
    ("language", "text", "written"), [(each, *two) for each, some in DIGITS.items() for two in some]
)
def test_numbers_are_written_in_digits(language, text, written):
    assert write_numbers(text, "digits", language) == written
    assert write_numbers(written, "digits", language) == written


@pytest.mark.parametrize(
    ("language", "text", "written"), [(each, *two) for each, some in WORDS.items() for two in some]
)
def test_numbers_are_written_in_words_where_these_have_one_form(language, text, written):
    assert write_numbers(text, "words", language) == written
    assert write_numbers(written, "words", language) == written


@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 99_999) | st.integers(0, 10**9), language=st.sampled_from(sorted(RULES)))
def test_what_a_number_is_said_as_is_no_other_number(number, language):
    said = converter(language).to_cardinal(number)
    assert value([fold(word) for word in said.replace("-", "").split()], language) in {number, None}


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(
            ["mil", "dos", "cien", "y", "uno,", "12", "50%", "por", "ciento", "mille", "cent", "e", "tausend", "zwei"]
        ),
        max_size=8,
    ),
    form=st.sampled_from(["digits", "words", "as spoken"]),
    language=st.sampled_from([*sorted(RULES), "sv"]),
)
def test_words_of_a_final_are_those_of_its_text_and_keep_their_times(words, form, language):
    timed = tuple(Word(word, 10 * place, 10 * place + 9, 0.5) for place, word in enumerate(words))
    final = Final(0, 0, 100, " ".join(words), timed, language=language)
    numbered = number_final(final, form)
    assert [word.text for word in numbered.words] == numbered.text.split()
    assert [word.start for word in numbered.words] == sorted(word.start for word in numbered.words)
    assert number_final(numbered, form).text == numbered.text
