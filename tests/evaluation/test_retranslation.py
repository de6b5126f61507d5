import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstream.evaluation.retranslation import CachingTranslator, score_streaming, speak
from rtstream.evaluation.retranslation_plot import draw_streaming
from rtstream.events import SAMPLE_RATE, Final, Partial
from rtstream.training.corpus.pairs import References
from rtstream.translation.ctranslate2 import CTranslate2Translator
from rtstream.translation.stabilizer import StabilizerConfig
from tests.translation.tiny_ctranslate2 import save_shouting_model

TEXTS = ("so it goes", "a high wall fifteen feet in height divided the courtyard from the men's", "yes")
SENTENCES = [References(text, (text.upper(), "something else"), "test") for text in TEXTS]


@pytest.fixture(scope="module")
def shouter(tmp_path_factory):
    return CTranslate2Translator.open(save_shouting_model(tmp_path_factory.mktemp("model")), ["es"])


class Fickle:
    """Begins each translation differently."""

    languages = ("es",)

    def translate(self, text, language, prefix=""):  # noqa: ARG002 - a translator's signature
        return " ".join([prefix, *[f"{word}{len(text)}" for word in text.split()][len(prefix.split()) :]]).strip()


@given(st.lists(st.text("ab", min_size=1), min_size=1, max_size=40).map(" ".join), st.sampled_from([0.32, 0.64, 1.28]))
def test_spoken_text_grows_word_by_word_and_ends_with_its_final(text, chunk):
    *partials, final = speak(text, chunk_seconds=chunk)
    assert final == Final(0, 0, round(len(text.split()) / 2.5 * SAMPLE_RATE), text)
    end = 0
    said = ""
    for partial in partials:
        assert isinstance(partial, Partial)
        assert end < partial.end < final.end
        assert final.text.startswith(partial.text)
        assert len(partial.text) > len(said)
        assert len(partial.text.split()) <= partial.end / SAMPLE_RATE * 2.5 + 1e-6
        end, said = partial.end, partial.text


def test_perfect_translations_are_scored_so_and_wait_longer_behind_a_mask(shouter):
    translator = CachingTranslator(shouter)
    scores = [score_streaming(translator, "es", SENTENCES, StabilizerConfig(mask=mask)) for mask in (0, 2, 5)]
    for score in scores:
        assert score.bleu == pytest.approx(100.0)
        assert score.erasure == 0.0
    assert scores[0].laal < scores[1].laal < scores[2].laal
    assert scores[0].updates > scores[2].updates >= 1


def test_what_changes_its_mind_has_erasure_and_what_was_shown_spoils_what_follows_it():
    translator = CachingTranslator(Fickle())
    sentences = [References(TEXTS[1], (Fickle().translate(TEXTS[1], "es"),), "test")]

    def score(keep, mask=0):
        return score_streaming(translator, "es", sentences, StabilizerConfig(mask, keep))

    assert (
        score("nothing").erasure > score("partials").erasure > score("partials", 8).erasure > score("all").erasure == 0
    )
    assert score("nothing").bleu == score("partials").bleu == pytest.approx(100.0)
    assert score("all").bleu < score("all", 8).bleu < 100.0
    assert score("all").laal < score("all", 8).laal < score("partials").laal


def test_remembered_translations_are_the_same_and_cost_as_much():
    remembering = CachingTranslator(Fickle())
    first = remembering.translate("a b", "es", "x")
    cost = remembering.seconds
    assert remembering.translate("a b", "es", "x") == first == "x b3"
    assert remembering.seconds == 2 * cost > 0
    assert remembering.languages == ("es",)


def test_scores_are_drawn(tmp_path):
    translator = CachingTranslator(Fickle())
    scores = [
        score_streaming(translator, "es", SENTENCES, StabilizerConfig(mask, keep))
        for mask in (0, 3)
        for keep in ("nothing", "all")
    ]
    draw_streaming(scores, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]
