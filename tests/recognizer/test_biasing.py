"""Texts beside posteriors that say something else; the decoder's opinion is a number here."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtstream.engine.torch_int8 import TorchDecoder
from rtstream.model.config import LETTERS, DecoderConfig
from rtstream.nn.decoder import Decoder
from rtstream.recognizer.biasing import BiasConfig, BiasedText, Biaser, Liking
from rtstream.recognizer.ctc_search import greedy_text
from rtstream.recognizer.final_pass import GreedyDecoder
from rtstream.recognizer.phrases import parse_phrases
from tests.bundle.tiny_tokenizer import make_tokenizer
from tests.recognizer.test_guard import say

TOKENIZER = make_tokenizer()


def biaser(*phrases):
    return Biaser(parse_phrases(phrases), LETTERS, BiasConfig())


def rewrite(bias, text, heard, liking=lambda _: 0.0, **options):
    spotter = bias.spotter
    log_probs = say(heard)
    spots = spotter.step(log_probs, spotter.initial_state()).found
    return " ".join(bias.rewrite(text.split(), log_probs, spots, liking, **options))


@pytest.mark.parametrize(
    ("text", "heard", "written"),
    [
        ("we use graph fauna today", "we use grafana today", "we use Grafana today"),
        ("griffin", "grafana", "Grafana"),
        ("we use griffin, today", "we use grafana today", "we use Grafana, today"),
        ("we use today", "we use grafana today", "we use Grafana today"),
        ("the griffin's panels", "the grafana's panels", "the Grafana's panels"),
        ("some new rally", "some new relic", "some New Relic"),
        ("some newrelic", "some new relic", "some New Relic"),
        ("it is when hollow and graph fauna", "it is wren hollow and grafana", "it is Wren Hollow and Grafana"),
    ],
)
def test_a_phrase_that_was_heard_replaces_what_was_written_for_it(text, heard, written):
    assert rewrite(biaser("Grafana", "New Relic", "Wren Hollow", "Zigbee"), text, heard) == written


@pytest.mark.parametrize(
    ("language", "text", "heard", "written"),
    [
        ("de", "herr miller kommt", "herr muller kommt", "herr Müller kommt"),
        ("pt", "em san pablo agora", "em sao paulo agora", "em São Paulo agora"),
        ("fr", "à l'élisée, oui", "a l'elysee oui", "à l'Élysée, oui"),
        ("fr", "à lisée, oui", "a l'elysee oui", "à Élysée, oui"),
        ("pl", "jadę do łóż dziś", "jade do lodz dzis", "jadę do Łódź dziś"),
        ("ru", "это чешка была", "eto chaika byla", "это Чайка была"),
    ],
)
def test_a_phrase_with_accents_is_heard_by_its_plain_letters(language, text, heard, written):
    bias = biaser("Müller", "São Paulo", "Élysée", "Łódź", "Чайка")
    assert rewrite(bias, text, heard, language=language) == written


@pytest.mark.parametrize("weight", ["0.1", "1", "5"])
@pytest.mark.parametrize("heard", ["", "the cat sat on the old mat", "we use graphite today", "ana ana ana"])
def test_a_phrase_that_was_not_heard_is_never_written(weight, heard):
    bias = biaser(f"Grafana={weight}", f"Home Assistant={weight}")
    assert rewrite(bias, "we saw a cat", heard, lambda _: 1e6) == "we saw a cat"
    assert rewrite(bias, "we saw a cat", heard, None) == "we saw a cat"


@given(st.lists(st.sampled_from(["the", "cat", "sat", "on", "griffin", "fauna"]), min_size=1, max_size=6))
def test_a_text_that_was_heard_as_it_is_stays(words):
    text = " ".join(words)
    assert rewrite(biaser("Kubernetes", "Prometheus", "Wireguard"), text, text) == text


def test_what_the_decoder_dislikes_more_than_the_bonus_is_not_written():
    heard = "we use grafana today"
    assert rewrite(biaser("Grafana"), "we use griffin today", heard, lambda _: -50.0) == "we use griffin today"
    config = BiasConfig()
    bonus = config.bonus + config.letter_bonus * len("grafana")
    assert "Grafana" not in rewrite(biaser("Grafana"), "we use griffin today", heard, lambda _: -1.5 * bonus)
    assert "Grafana" in rewrite(biaser("Grafana=2"), "we use griffin today", heard, lambda _: -1.5 * bonus)


def test_the_decoder_is_asked_about_few_texts_and_only_where_something_was_heard():
    asked = []
    names = [f"grafan{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    rewrite(biaser(*names), "we use griffin today", "we use grafana today", lambda words: asked.append(words) or -1.0)
    assert 0 < len(asked) <= BiasConfig().max_trials
    asked.clear()
    rewrite(biaser(*names), "we use it today", "we use it today", lambda words: asked.append(words) or 0.0)
    assert not asked


def test_of_two_phrases_for_one_place_the_better_one_is_written():
    assert rewrite(biaser("Anna", "Hanna"), "hello hannah", "hello hanna") == "hello Hanna"
    # One phrase has no bonus over another: what was heard decides.
    assert rewrite(biaser("alchemist", "alchemists"), "the alchemist", "the alchemist") == "the alchemist"


def test_words_that_were_given_stay_and_nothing_comes_behind_a_text_that_goes_on():
    bias, heard = biaser("Grafana"), "we use grafana today"
    assert rewrite(bias, "we use griffin today", heard, kept=3) == "we use griffin today"
    assert rewrite(bias, "we use", "we use grafana", ended=False) == "we use"
    assert rewrite(bias, "we use", "we use grafana", ended=True) == "we use Grafana"


def test_ctc_alone_writes_what_it_hears_nearly_as_well_as_its_own_text():
    # The last letter is not certain: the text has the likelier one.
    heard = say("we use grafana today")
    at = 4 * "we use grafana today".index("a t")
    heard[at, LETTERS.index("o") + 1] = heard[at, LETTERS.index("a") + 1] + 1.0
    text = greedy_text(heard, LETTERS)
    assert text == "we use grafano today"
    assert biaser("Grafana").correct(text, heard) == "we use Grafana today"
    assert biaser("Grafana=0.1").correct(text, heard) == text
    assert biaser("Graphite=5").correct(text, heard) == text


def test_a_whole_text_has_the_phrases_in_the_spelling_of_the_user():
    bias = biaser("Grafana", "New Relic")
    assert bias.correct("grafana and new relic", say("grafana and new relic")) == "Grafana and New Relic"
    assert bias.correct("", say("")) == ""
    assert bias.correct("1999", say("")) == "1999"


@given(st.text(alphabet="abcg 1é'-", max_size=24), st.text(alphabet="abcg ", max_size=24))
def test_any_text_beside_any_audio_is_taken(text, heard):
    bias = biaser("bag", "a cab", "Gab-bac=5")
    written = bias.correct(text, say(heard))
    if "bag" not in heard and "cab" not in heard:
        assert len(written.split()) <= len(text.split()) + 3


@given(st.integers(1, 9))
def test_a_growing_text_only_grows_and_waits_for_a_phrase_that_is_being_said(step):
    said = "we use grafana and new relic today"
    bias = biaser("Grafana", "New Relic")
    growing = BiasedText(bias)
    texts = []
    for end in range(step, len(said) + step, step):
        heard = said[:end]
        whole = heard if heard.endswith(" ") else heard.rpartition(" ")[0]
        growing.add_text(whole, say(heard))
        texts.append(" ".join(growing.words))
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert texts[-1].startswith("we use Grafana and")


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return GreedyDecoder(TorchDecoder(Decoder(DecoderConfig(len(TOKENIZER), 16, 2, 32, 2)).eval()), TOKENIZER)


@pytest.fixture
def state(decoder):
    return decoder.decoder.cross_keys(torch.randn(30, 16).numpy(), decoder.decoder.initial_state())


def test_words_that_nobody_has_seen_are_taken_back_and_those_before_stay(decoder, state):
    growing = BiasedText(biaser("Grafana=5"))
    heard = say("the grafana and our")
    first, then = (TOKENIZER.encode(text) for text in (" the grafana", " and our"))

    def add(tokens, committed):
        return growing.add_tokens(tokens, committed, heard, decoder, state, settled=len(heard))

    committed = add(first, [])
    assert growing.words == ["the", "Grafana"]
    added = add(then, committed)
    assert growing.words == ["the", "Grafana", "and", "our"]
    growing.take_back()
    assert growing.words == ["the", "Grafana"]
    assert add(then, committed) == added
    assert growing.words == ["the", "Grafana", "and", "our"]


class TestLiking:
    @given(
        st.lists(st.sampled_from(["the", "and", "our", "café", "ab"]), max_size=4),
        st.lists(st.sampled_from(["the", "and", "our", "café", "ab"]), max_size=4),
    )
    def test_a_text_is_read_alike_after_another_one(self, one, other):
        torch.manual_seed(0)
        decoder = GreedyDecoder(TorchDecoder(Decoder(DecoderConfig(len(TOKENIZER), 16, 2, 32, 2)).eval()), TOKENIZER)
        state = decoder.decoder.cross_keys(torch.randn(30, 16).numpy(), decoder.decoder.initial_state())
        first, second = (TOKENIZER.encode("".join(f" {word}" for word in words)) for words in (one, other))
        alone = decoder.read(second, state)
        after = decoder.read(second, state, decoder.read(first, state))
        assert after.tokens == alone.tokens
        np.testing.assert_allclose(after.log_probs, alone.log_probs, rtol=1e-5, atol=1e-6)
        assert after.state.tokens == alone.state.tokens

    def test_a_text_that_nobody_could_speak_so_fast_is_not_liked_at_all(self, decoder, state):
        assert Liking(decoder, state, ["the"])(["café"] * 40) == -np.inf
        assert Liking(decoder, state, ["café"] * 400)(["the"]) == -np.inf

    def test_a_text_is_liked_as_much_as_itself(self, decoder, state):
        liking = Liking(decoder, state, ["the", "and"])
        assert liking(["the", "and"]) == pytest.approx(0.0, abs=1e-4)
        there = liking(["the", "our"])
        back = Liking(decoder, state, ["the", "our"])(["the", "and"])
        assert there == pytest.approx(-back, abs=1e-4)
