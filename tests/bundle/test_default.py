import sys
from pathlib import Path

import pytest

from rtstream.bundle import default
from rtstream.bundle.default import MANIFEST, VARIABLE, how_to_get, model_path, shipped_names
from rtstream.errors import BundleError


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Neither shipped model is there, no variable is set."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(default, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(default, "INSTALLED", tmp_path / "installed")
    return tmp_path


def test_named_path_comes_before_all(places, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/from/variable")
    (places / "checkout/base").mkdir(parents=True)
    assert model_path(Path("/named")) == Path("/named")


def test_variable_comes_before_what_is_shipped(places, monkeypatch):
    (places / "checkout/base").mkdir(parents=True)
    monkeypatch.setenv(VARIABLE, "/from/variable")
    assert model_path() == Path("/from/variable")
    monkeypatch.setenv(VARIABLE, "")
    assert model_path() == places / "checkout/base"


def test_model_of_the_checkout_comes_before_the_installed_one(places):
    (places / "installed/base").mkdir(parents=True)
    assert model_path() == places / "installed/base"
    (places / "checkout/base").mkdir(parents=True)
    assert model_path() == places / "checkout/base"


def test_no_model_is_an_error_that_names_every_place(places):
    with pytest.raises(BundleError) as raised:
        model_path()
    for place in (str(places / "checkout/base"), str(places / "installed/base"), VARIABLE, "--model"):
        assert place in str(raised.value)


def test_a_model_that_ships_is_known_by_its_name(places, monkeypatch):
    for model in ("checkout/base", "installed/base", "installed/tiny"):
        (places / model).mkdir(parents=True)
    assert model_path(Path("base")) == places / "checkout/base"
    assert model_path(Path("tiny")) == places / "installed/tiny"
    monkeypatch.setenv(VARIABLE, "tiny")
    assert model_path() == places / "installed/tiny"


def test_a_folder_of_that_name_comes_before_a_model_that_ships(places, monkeypatch):
    for model in ("installed/tiny", "here/tiny"):
        (places / model).mkdir(parents=True)
    monkeypatch.chdir(places / "here")
    assert model_path(Path("tiny")) == Path("tiny")


@pytest.mark.parametrize("name", ["unknown", "models/tiny"])
def test_what_is_no_models_name_is_a_path(places, name, monkeypatch):
    (places / "installed/tiny").mkdir(parents=True)
    monkeypatch.chdir(places)
    assert model_path(Path(name)) == Path(name)


def test_a_model_that_is_a_package_of_its_own_is_known_by_its_name(places, monkeypatch):
    assert how_to_get("multi") == "pip install rtstream-multi"
    assert how_to_get("nope") is None
    bundle = places / "site/rtstream_multi/multi"
    bundle.mkdir(parents=True)
    (bundle.parent / "__init__.py").touch()
    (bundle / MANIFEST).write_text('{"format": "rtstream-bundle"}')
    monkeypatch.syspath_prepend(places / "site")
    assert model_path(Path("multi")) == bundle
    assert shipped_names("rtstream-bundle") == ["multi"]
    assert how_to_get("multi") is None
    assert "rtstream_multi" not in sys.modules
    (places / "checkout/multi").mkdir(parents=True)
    assert model_path(Path("multi")) == places / "checkout/multi"
