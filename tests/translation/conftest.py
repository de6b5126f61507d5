import pytest

from tests.translation.tiny_ctranslate2 import save_shouting_model


@pytest.fixture(scope="session")
def shouting(tmp_path_factory):
    """Directory of a model of one language, whose translation of a text is the text in capitals."""
    return save_shouting_model(tmp_path_factory.mktemp("models") / "opus")


@pytest.fixture(scope="session")
def shouting_in_many(tmp_path_factory):
    """The same as NLLB, in French, Spanish, Standard Arabic, Korean and both kinds of Chinese."""
    languages = ("arb_Arab", "eng_Latn", "fra_Latn", "kor_Hang", "spa_Latn", "zho_Hans", "zho_Hant")
    return save_shouting_model(tmp_path_factory.mktemp("models") / "nllb", family="nllb", languages=languages)
