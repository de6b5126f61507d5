"""rtstream's own translator: what it has learnt it translates, what is forced it keeps, what is unknown it copies."""

import json
import shutil

import pytest
import torch

from rtstream.bundle.files import CARD, MANIFEST, WEIGHTS
from rtstream.bundle.text_bundle import PIECES
from rtstream.engine.open import load_text_bundle
from rtstream.errors import BundleError, TranslationError
from rtstream.translation.built_in import BuiltInTranslator
from rtstream.translation.models import open_translator
from tests.training.tiny_pairs import ENGLISH, WORDS, translated
from tests.translation.tiny_built_in import save_learnt_model


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return save_learnt_model(tmp_path_factory.mktemp("learnt"))


@pytest.fixture(scope="module")
def translator(bundle):
    return BuiltInTranslator.open(bundle)


@pytest.mark.parametrize("beam", [1, 2, 4])
@pytest.mark.parametrize("language", WORDS)
def test_what_was_learnt_is_translated(translator, language, beam):
    made = [translator.with_beam(beam).translate(text, language) for text in ENGLISH]
    wanted = [translated(text, language) for text in ENGLISH]
    right = sum(one == other for one, other in zip(made, wanted, strict=True))
    assert right >= 0.9 * len(ENGLISH), list(zip(made, wanted, strict=True))


@pytest.mark.parametrize("engine", ["float", "torch", "onnx"])
def test_batch_equals_one_after_another(bundle, engine):
    translator = BuiltInTranslator.open(bundle, engine=engine)
    texts = [*ENGLISH, "", "Tom 東京.", "Tom reads. " * 40]
    one_by_one = [translator.translate(text, "de") for text in texts]
    together = translator.translate_batch(texts, "de")
    same = sum(one == other for one, other in zip(one_by_one, together, strict=True))
    # Exactly alike in float; an engine may round a tie otherwise where more rows are computed at once.
    assert same == len(texts) if engine == "float" else same >= 0.9 * len(texts)


def test_translation_begins_with_what_is_forced(translator):
    for language in WORDS:
        whole = translated("My sister sings in Boston.", language).split()
        for count in range(len(whole) + 1):
            prefix = " ".join(whole[:count])
            made = translator.translate("My sister sings in Boston.", language, prefix)
            assert made.startswith(prefix)
            assert made[len(prefix) :][:1] in {"", " ", "."} or not prefix


@pytest.mark.parametrize("prefix", ["Otra cosa", "zzz 東京 ", "¿Qué?  Sí", "l'"])
def test_any_prefix_comes_back_letter_for_letter(translator, prefix):
    assert translator.translate("Tom reads at home.", "es", prefix).startswith(prefix)


def test_empty_text_gives_the_prefix(translator):
    assert translator.translate("", "es") == ""
    assert translator.translate("  ", "es", "Hola") == "Hola"


def test_unknown_words_are_copied(translator):
    made = [translator.translate(f"東京 {rest}", "es") for rest in ("reads at home.", "sings with me.", "reads at 5.")]
    assert sum("東京" in text for text in made) >= 2
    assert all(text.count("東京") <= 1 for text in made)


def test_translation_always_ends_and_is_not_too_long(translator):
    for text in ("reads " * 30, "Tom Tom Tom Tom Tom", "... ... ?", "x" * 50, "a " * 400):
        made = translator.translate(text, "de")
        assert translator.count(made) < 3 * translator.count(text) + 20


def test_long_text_is_translated_in_parts(translator):
    made = translator.translate("Tom reads at home. " * 30, "es")
    assert made.count("Tom") > 10


def test_forced_prefix_that_fills_the_model_is_given_back(translator):
    prefix = "Tom lee en casa. " * 30
    assert translator.translate("Tom reads at home.", "es", prefix).startswith(prefix)


def test_unknown_language_and_beam_are_one_line(translator):
    with pytest.raises(TranslationError, match="does not know 'xx'; it knows es, de"):
        translator.translate("Hi.", "xx")
    with pytest.raises(TranslationError, match="does not know 'xx'"):
        translator.translate_batch(["Hi."], "xx")
    with pytest.raises(TranslationError, match=r"beam \(5\) must be from 1 to 4"):
        translator.with_beam(5)


def test_region_of_a_language_is_that_language(translator, bundle):
    assert translator.translate("Tom reads at home.", "es-MX") == translator.translate("Tom reads at home.", "es")
    assert open_translator(bundle, ["de-AT"]).languages == ("es", "de")


def test_directory_is_known_for_what_it_is(bundle):
    assert open_translator(bundle, ["es", "de"]).languages == ("es", "de")
    with pytest.raises(TranslationError, match="does not know 'fr'"):
        open_translator(bundle, ["fr"])


def test_float_and_int8_say_nearly_the_same(bundle, translator):
    exact = BuiltInTranslator.open(bundle, engine="float")
    same = sum(exact.translate(text, "de") == translator.translate(text, "de") for text in ENGLISH)
    assert same >= 0.9 * len(ENGLISH)


def spoil_tensor(path):
    (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-8])


def spoil_version(path):
    data = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(data | {"version": 99}))


def spoil_config(path):
    data = json.loads((path / MANIFEST).read_text())
    data["model"]["encoder"]["ffn"] = 12
    (path / MANIFEST).write_text(json.dumps(data))


def spoil_key(path):
    data = json.loads((path / MANIFEST).read_text())
    data["model"]["encoder"]["n_mels"] = 80
    (path / MANIFEST).write_text(json.dumps(data))


def spoil_format(path):
    (path / MANIFEST).write_text('{"format": "rtstream-bundle"}')


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: (path / MANIFEST).unlink(), "no model bundle here"),
        (lambda path: (path / PIECES).unlink(), f"{PIECES} is missing"),
        (spoil_tensor, "the checksum differs"),
        (spoil_version, "bundle version 99"),
        (spoil_config, "has shape"),
        (spoil_key, r"model\.encoder\.n_mels: is unknown"),
        (spoil_format, "format 'rtstream-translation' expected"),
        (lambda path: (path / MANIFEST).write_text("{"), "not readable"),
    ],
)
def test_broken_or_foreign_bundle_is_one_line(bundle, tmp_path, spoil, told):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    spoil(copy)
    with pytest.raises(BundleError, match=told) as caught:
        load_text_bundle(copy)
    assert "\n" not in str(caught.value)
    with pytest.raises(TranslationError, match=told):
        BuiltInTranslator.open(copy)


def test_card_may_be_changed(bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / CARD).write_text("another")
    assert load_text_bundle(copy).name == "tiny"


def test_search_keeps_no_gradients(bundle):
    translator = BuiltInTranslator.open(bundle, engine="torch")
    translator.translate("Tom reads.", "de")
    assert not any(parameter.requires_grad for parameter in translator.bundle.engine.model.parameters())
    assert torch.is_grad_enabled()
