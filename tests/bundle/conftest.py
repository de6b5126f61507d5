import pytest

from tests.bundle.tiny_tokenizer import make_tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()
