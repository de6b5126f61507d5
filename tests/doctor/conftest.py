import pytest

from tests.recognizer.tiny_bundle import save_tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return save_tiny_bundle(tmp_path_factory.mktemp("bundle"))
