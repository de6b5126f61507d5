import json
import shutil
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtstream.errors import TranslationError
from rtstream.translation.ctranslate2 import CTranslate2Translator
from tests.translation.tiny_ctranslate2 import LETTERS, save_shouting_model

words = st.lists(st.text(LETTERS, min_size=1, max_size=8), min_size=1, max_size=12).map(" ".join)


@pytest.fixture(scope="module")
def translator(shouting):
    return CTranslate2Translator.open(shouting, ["es"])


@pytest.fixture(scope="module")
def polyglot(shouting_in_many):
    return CTranslate2Translator.open(shouting_in_many, ["es", "fr"])


@pytest.mark.parametrize("beam", [1, 4])
def test_text_is_translated_with_any_beam(shouting, beam):
    translator = CTranslate2Translator.open(shouting, ["es"], beam=beam)
    assert translator.languages == ("es",)
    assert translator.translate("a high wall, fifteen feet!", "es") == "A HIGH WALL, FIFTEEN FEET!"


@settings(max_examples=50)
@given(text=words)
def test_translation_is_a_function_of_the_text(translator, text):
    assert translator.translate(text, "es") == text.upper()


@settings(max_examples=50)
@given(text=words, data=st.data())
def test_translation_begins_with_its_prefix_and_goes_on_behind_it(translator, polyglot, text, data):
    shouted = text.upper().split()
    prefix = " ".join(shouted[: data.draw(st.integers(0, len(shouted)))])
    assert translator.translate(text, "es", prefix) == text.upper()
    assert polyglot.translate(text, "fr", prefix) == text.upper()


@settings(max_examples=50)
@given(text=words, prefix=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_prefix_stays_letter_for_letter(translator, text, prefix):
    assert translator.translate(text, "es", prefix).startswith(prefix)


def test_text_without_words_gives_the_prefix(translator):
    assert translator.translate("", "es") == ""
    assert translator.translate(" \n", "es", "HOLA") == "HOLA"


def test_very_long_text_is_translated_as_far_as_the_model_can(translator):
    translation = translator.translate("so it goes " * 200, "es")
    assert translation.startswith("SO IT GOES SO IT")
    assert len(translation) <= 501


def test_model_of_several_languages_is_told_source_and_target(polyglot):
    assert polyglot.languages == ("es", "fr")
    assert polyglot.translate("hello you", "es") == "HELLO YOU"
    frames = {language: (frame.source, frame.target) for language, frame in polyglot._frames.items()}
    assert frames == {"es": (("eng_Latn",), ("spa_Latn",)), "fr": (("eng_Latn",), ("fra_Latn",))}


@pytest.mark.parametrize(
    ("language", "token"),
    [("ar", "arb_Arab"), ("ko", "kor_Hang"), ("zh", "zho_Hans"), ("zh-TW", "zho_Hant"), ("es-MX", "spa_Latn")],
)
def test_tags_find_the_names_that_models_have_for_languages(shouting_in_many, language, token):
    translator = CTranslate2Translator.open(shouting_in_many, [language])
    assert translator._frames[language].target == (token,)
    assert translator.translate("hello", language) == "HELLO"


def test_opus_model_of_several_languages_is_told_the_target_before_the_source(tmp_path):
    path = save_shouting_model(tmp_path, family="opus-many", languages=("spa", "pt_BR"))
    translator = CTranslate2Translator.open(path, ["pt-BR", "es"])
    assert translator._frames["pt-BR"].source == (">>pt_BR<<",)
    assert translator.translate("hello you", "pt-BR", "HELLO") == "HELLO YOU"


def test_model_of_marian_s_own_converter_closes_the_source_itself(shouting, tmp_path):
    path = shutil.copytree(shouting, tmp_path / "marian")
    settings = json.loads((path / "config.json").read_text()) | {"add_source_eos": True, "decoder_start_token": "<s>"}
    (path / "config.json").write_text(json.dumps(settings))
    translator = CTranslate2Translator.open(path, ["es"])
    assert translator._closing == ()
    assert translator.translate("hello you", "es") == "HELLO YOU"


def test_int8_weights_translate_too(tmp_path):
    path = save_shouting_model(tmp_path, quantization="int8")
    assert CTranslate2Translator.open(path, ["de"]).translate("hello you", "de") == "HELLO YOU"


def test_language_that_was_not_asked_for_is_an_error(translator):
    with pytest.raises(TranslationError, match="opened for es, not for 'fr'"):
        translator.translate("hello", "fr")


def test_language_that_the_model_does_not_know_is_named_with_those_that_it_does(shouting_in_many):
    with pytest.raises(TranslationError, match="does not know 'de'; it knows ar"):
        CTranslate2Translator.open(shouting_in_many, ["de"])


def test_model_of_one_language_is_not_taken_for_one_of_two(shouting):
    with pytest.raises(TranslationError, match="single language, but es, fr are asked for"):
        CTranslate2Translator.open(shouting, ["es", "fr"])


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("model.bin", None, "no model.bin here"),
        ("model.bin", b"not a model", "CTranslate2 cannot load this model"),
        ("shared_vocabulary.json", None, "no vocabulary beside model.bin"),
        ("shared_vocabulary.json", b"[", "shared_vocabulary.json: cannot be read"),
        ("config.json", b"{", "config.json: cannot be read"),
        ("source.spm", b"rubbish", "not a model of SentencePiece"),
    ],
)
def test_broken_directory_is_one_line_that_names_it(shouting, tmp_path, file, content, told):
    path = shutil.copytree(shouting, tmp_path / "broken")
    if content is None:
        (path / file).unlink()
    else:
        (path / file).write_bytes(content)
    with pytest.raises(TranslationError, match=told) as error:
        CTranslate2Translator.open(path, ["es"])
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_directory_without_sentencepiece_says_which_files_belong_there(shouting, tmp_path):
    path = shutil.copytree(shouting, tmp_path / "bare")
    (path / "source.spm").unlink()
    (path / "target.spm").unlink()
    with pytest.raises(TranslationError, match=r"copy source.spm and target.spm \(OPUS-MT\)"):
        CTranslate2Translator.open(path, ["es"])


def test_missing_package_says_how_to_install_it(shouting):
    program = (
        "import sys; from pathlib import Path; sys.modules['ctranslate2'] = None\n"
        "from rtstream.translation.ctranslate2 import CTranslate2Translator\n"
        "CTranslate2Translator.open(Path(sys.argv[1]), ['es'])"
    )
    done = subprocess.run([sys.executable, "-c", program, shouting], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith(
        "CTranslate2's models need the package ctranslate2: pip install 'rtstream[ctranslate2]'"
    )
