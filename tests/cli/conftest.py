import pytest

from rtstream.bundle.default import VARIABLE
from tests.recognizer.tiny_bundle import save_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """Directory of a bundle that says letters at random for any speech."""
    return save_tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny_model(tiny_bundle, monkeypatch):
    """Make that bundle the one that is used where none is named."""
    monkeypatch.setenv(VARIABLE, str(tiny_bundle))
    return tiny_bundle
