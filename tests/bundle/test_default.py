from pathlib import Path

import pytest

from rtstream.bundle import default
from rtstream.bundle.default import VARIABLE, model_path
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
    (places / "checkout").mkdir()
    assert model_path(Path("/named")) == Path("/named")


def test_variable_comes_before_what_is_shipped(places, monkeypatch):
    (places / "checkout").mkdir()
    monkeypatch.setenv(VARIABLE, "/from/variable")
    assert model_path() == Path("/from/variable")
    monkeypatch.setenv(VARIABLE, "")
    assert model_path() == places / "checkout"


def test_model_of_the_checkout_comes_before_the_installed_one(places):
    (places / "installed").mkdir()
    assert model_path() == places / "installed"
    (places / "checkout").mkdir()
    assert model_path() == places / "checkout"


def test_no_model_is_an_error_that_names_every_place(places):
    with pytest.raises(BundleError) as raised:
        model_path()
    for place in (str(places / "checkout"), str(places / "installed"), VARIABLE, "--model"):
        assert place in str(raised.value)
