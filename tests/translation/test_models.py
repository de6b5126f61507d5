from pathlib import Path

import pytest

from rtstream.bundle.pieces import PieceTokenizer
from rtstream.errors import TranslationError
from rtstream.events import Partial
from rtstream.export.bundles import save_text_bundle
from rtstream.training.text.translation import PIECES, make_translation_trainer
from rtstream.translation import models
from rtstream.translation.models import VARIABLE, default_model, model_paths, open_translator, open_translators
from rtstream.translation.stabilizer import Stabilizer, StabilizerConfig
from tests.recognizer.tiny_bundle import save_tiny_bundle
from tests.training.tiny_pairs import make_recipe, write_pairs


@pytest.fixture(autouse=True)
def _none_ships(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(models, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(models, "INSTALLED", tmp_path / "installed")


def test_own_model_of_a_language_goes_before_the_model_of_all():
    paths = model_paths(["es", "fr", "es"], Path("/all"), {"fr": Path("/french"), "de": Path("/german")})
    assert paths == {"es": Path("/all"), "fr": Path("/french")}


def test_named_models_go_before_the_environment_and_that_before_what_ships(monkeypatch, tmp_path):
    shipped = tmp_path / "installed" / "en-x-small"
    shipped.mkdir(parents=True)
    assert model_paths(["es"]) == {"es": shipped}
    monkeypatch.setenv(VARIABLE, "/mine")
    assert default_model() == Path("/mine")
    assert model_paths(["es"]) == {"es": Path("/mine")}
    assert model_paths(["es"], Path("/all")) == {"es": Path("/all")}


def test_no_language_needs_no_model():
    assert model_paths([]) == {}


def test_language_without_a_model_is_one_line_that_says_what_to_do():
    with pytest.raises(TranslationError, match="no model translates into es, fr") as error:
        model_paths(["es", "de", "fr"], None, {"de": Path("/german")})
    assert f"${VARIABLE}" in str(error.value)
    assert "translation.models.es" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_ships_is_asked_for_its_languages_before_it_is_loaded(tmp_path):
    shipped = tmp_path / "installed" / "en-x-small"
    shipped.mkdir(parents=True)
    (shipped / "bundle.json").write_text('{"languages": ["es", "de"]}')
    assert model_paths(["es", "fr"], None, {"fr": Path("/french")}) == {"es": shipped, "fr": Path("/french")}
    assert model_paths(["es-MX", "de"]) == {"es-MX": shipped, "de": shipped}
    with pytest.raises(TranslationError, match=r"no model translates into fr, it: .*en-x-small knows es, de;"):
        model_paths(["es", "fr", "it"])


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"languages": 3}', '{"languages": null}'])
def test_manifest_that_cannot_be_read_is_left_to_the_loader(tmp_path, manifest):
    shipped = tmp_path / "installed" / "en-x-small"
    shipped.mkdir(parents=True)
    (shipped / "bundle.json").write_text(manifest)
    assert model_paths(["es"]) == {"es": shipped}


def test_directory_is_opened_once_for_all_its_languages(shouting, shouting_in_many):
    paths = {"es": shouting_in_many, "de": shouting, "fr": shouting_in_many}
    opened = open_translators(paths)
    assert list(opened) == ["es", "de", "fr"]
    assert opened["es"] is opened["fr"]
    assert opened["es"].languages == ("es", "fr")
    assert [translator.translate("hello", language) for language, translator in opened.items()] == ["HELLO"] * 3


def test_model_of_rtstreams_own_is_opened_for_the_languages_that_it_knows(tmp_path):
    write_pairs(tmp_path / "texts")
    trainer = make_translation_trainer(make_recipe(), directory=tmp_path / "run", texts=[tmp_path / "texts"])
    pieces = PieceTokenizer.load(tmp_path / "run" / PIECES)
    save_text_bundle(tmp_path / "bundle", "random", trainer.model, pieces, "card")
    translator = open_translators({"es": tmp_path / "bundle"}, beam=2)["es"]
    assert translator.beam == 2
    stabilizer = Stabilizer(translator, "es", StabilizerConfig(mask=0))
    shown = ""
    for count in range(1, 6):  # nothing was learnt, but what was shown stays
        partial = Partial(0, 0, count, " ".join(["Tom", "reads", "at", "home", "every"][:count]))
        made = stabilizer.translate(partial)
        assert made is None or made.text.startswith(shown)
        shown = shown if made is None else made.text
    with pytest.raises(TranslationError, match="does not know 'fr'; it knows"):
        open_translator(tmp_path / "bundle", ["es", "fr"])


def test_model_of_another_kind_is_one_line(tmp_path):
    with pytest.raises(TranslationError) as error:
        open_translator(save_tiny_bundle(tmp_path), ["es"])
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_directory_without_a_model_is_an_error_that_names_it(tmp_path):
    with pytest.raises(TranslationError, match=r"nowhere: no such directory: give that of a model") as error:
        open_translator(tmp_path / "nowhere", ["es"])
    assert "\n" not in str(error.value)
    with pytest.raises(TranslationError, match="holds no translation model"):
        open_translator(tmp_path, ["es"])
