"""Texts of other languages are found in what is said, their numbers, times and sums too."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtstream.model.config import LETTERS
from rtstream.model.letters import fold
from rtstream.recognizer.ctc_search import align, best_total, excess
from rtstream.recognizer.spoken_forms import spoken_forms
from tests.recognizer.posteriors import say

SAID = {
    "es": [
        ("Son las 7:30.", "son las siete y media"),
        ("7:45", "ocho menos cuarto"),
        ("19:30", "diecinueve horas treinta"),
        ("1995", "mil novecientos noventa y cinco"),
        ("21 personas", "veintiuna personas"),
        ("200 mujeres", "doscientas mujeres"),
        ("el 50 %", "el cincuenta por ciento"),
        ("3,5", "tres coma cinco"),
        ("3,50 €", "tres euros con cincuenta"),
        ("el 1.º", "el primero"),
        ("2.500.000", "dos millones quinientos mil"),
        ("600 12 34 56", "seiscientos doce treinta y cuatro cincuenta y seis"),
        ("marque 1234", "marque uno dos tres cuatro"),
    ],
    "fr": [
        ("en 1995", "en mille neuf cent quatre-vingt-quinze"),
        ("95", "nonante-cinq"),
        ("71", "septante et un"),
        ("71", "soixante et onze"),
        ("à 7h30", "à sept heures trente"),
        ("à 7 h 30", "à sept heures trente"),
        ("7:30", "sept heures et demie"),
        ("12 500 euros", "douze mille cinq cents euros"),
        ("1 000", "mille"),
        ("2 500 000", "deux millions cinq cent mille"),
        ("06 12 34", "zéro six douze trente-quatre"),
        ("le 1er mai", "le premier mai"),
        ("la 2e", "la deuxième"),
        ("20 €", "vingt euros"),
        ("1900", "dix-neuf cents"),
        ("peut-être", "peut être"),
    ],
    "de": [
        ("21", "einundzwanzig"),
        ("1995", "neunzehnhundertfünfundneunzig"),
        ("100", "hundert"),
        ("1.000", "tausend"),
        ("um 19:30 Uhr", "um neunzehn Uhr dreißig"),
        ("um 7:30", "um halb acht"),
        ("um 7.15 Uhr", "um viertel nach sieben"),
        ("am 3. Mai", "am dritten Mai"),
        ("3,5 Prozent", "drei Komma fünf Prozent"),
        ("3,50 €", "drei Euro fünfzig"),
        ("12345", "eins zwei drei vier fünf"),
        ("90er", "neunziger"),
        ("2500000", "zwei Millionen fünfhunderttausend"),
    ],
    "pt": [
        ("21", "vinte e uma"),
        ("16", "dezesseis"),
        ("16", "dezasseis"),
        ("às 7:30", "às sete e meia"),
        ("7h30", "sete horas e trinta"),
        ("50%", "cinquenta por cento"),
        ("R$ 20", "vinte reais"),
        ("1.500", "mil e quinhentos"),
    ],
    "it": [
        ("1995", "millenovecentonovantacinque"),
        ("alle 7:30", "alle sette e mezza"),
        ("alle 7.45", "alle otto meno un quarto"),
        ("21 anni", "ventun anni"),
        ("2.000", "duemila"),
        ("il 1º", "il primo"),
    ],
    "nl": [
        ("1995", "negentien vijfennegentig"),
        ("1995", "negentienhonderdvijfennegentig"),
        ("om 7:30", "om half acht"),
        ("19.30 uur", "negentien uur dertig"),
        ("de 2e", "de tweede"),
        ("€ 3,50", "drie euro vijftig"),
        ("1.200", "duizend tweehonderd"),
    ],
    "pl": [
        ("w 1995 roku", "w tysiąc dziewięćset dziewięćdziesiątym piątym roku"),
        ("3 maja", "trzeciego maja"),
        ("o 7:30", "o siódmej trzydzieści"),
        ("7:30", "wpół do ósmej"),
        ("5 osób", "pięciu osób"),
        ("12 000", "dwanaście tysięcy"),
        ("3,5", "trzy przecinek pięć"),
    ],
    "ca": [
        ("21", "vint-i-un"),
        ("7:30", "dos quarts de vuit"),
        ("200 dones", "dues-centes dones"),
        ("el 1r", "el primer"),
        ("8", "huit"),
        ("un cristal·lí", "un cristal·lí"),
    ],
    "ru": [
        ("в 1995 году", "в тысяча девятьсот девяносто пятом году"),
        ("3 мая", "третьего мая"),
        ("нажмите 8", "нажмите восемь"),
        ("в 7:30", "в половине восьмого"),
        ("50%", "пятьдесят процентов"),
        ("2 книги", "две книги"),
        ("с 5 друзьями", "с пятью друзьями"),
        ("1000", "тысяча"),
        ("90-х", "девяностых"),
        ("20 $", "двадцать долларов"),
    ],
    "sv": [("21 hus", "tjugoett hus")],
}


def spoken(text):
    """CTC's letters of what is said."""
    return "".join(c for c in fold(text).replace("-", " ") if c in LETTERS)


@pytest.mark.parametrize(
    ("language", "text", "said"), [(each, *pair) for each, pairs in SAID.items() for pair in pairs]
)
def test_a_text_is_found_in_what_is_said(language, text, said):
    readings = spoken_forms(text, LETTERS, language).readings
    assert excess(say(spoken(said)), readings) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("es", "46", "cuarenta y siete"),
        ("fr", "95", "quatre-vingt-cinq"),
        ("de", "um 7:30", "um halb sieben"),
        ("ru", "5", "восемь"),
        ("nl", "21", "twaalf"),
        ("de", "46", "forty six"),
    ],
)
def test_another_number_is_not(language, text, said):
    assert excess(say(spoken(said)), spoken_forms(text, LETTERS, language).readings) > 5.0


def test_of_a_language_whose_numbers_are_not_known_the_words_are_found():
    readings = spoken_forms("as 21 casas", LETTERS, "gl").readings
    assert excess(say("as casas"), readings) == pytest.approx(0.0, abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(text=st.text(alphabet="añ 0159.,:h%-/'€$|?", max_size=10), language=st.sampled_from([*SAID, "gl"]))
def test_each_letter_belongs_to_a_word_of_the_text(text, language):
    forms = spoken_forms(text, LETTERS, language)
    assert len(forms.words) == len(forms.readings.symbols)
    assert set(forms.words) <= {-1, *range(len(text.split()))}
    log_probs = say("a uno b dos cien")
    aligned = align(log_probs, forms.readings)
    if aligned is not None:
        assert aligned.total <= best_total(log_probs) + 1e-3
        said = [forms.words[place] for place in aligned.places if forms.words[place] >= 0]
        assert said == sorted(said)
