"""Beam search against distributions that are known: every text tried, or a table of what follows a token."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from rtstream.engine.beam_search import Beam
from rtstream.engine.torch_int8 import TorchDecoder
from tests.nn.tiny_models import Markov, make_decoder, noise

START, END = 0, 1


@dataclass(frozen=True)
class Free:
    """Anything, up to a length, but for three of a kind."""

    most: int

    def forbid(self, logs, tokens):
        pass

    def cut(self, tokens):
        return len(tokens) >= 3 and len(set(tokens[-3:])) == 1


def beam(width, size, banned=(START,)):
    mask = np.zeros(size)
    mask[list(banned)] = -np.inf
    return Beam(width, END, mask, float)


def search(decoder, width, most):
    size = decoder.config.vocabulary
    with torch.no_grad():
        state = decoder.extend(noise(5, decoder.config.d_model), decoder.initial_state())
    (found,) = beam(width, size).search(TorchDecoder(decoder), np.array([[START]]), state.batch(), [Free(most)])
    return found


def score(decoder, text):
    """Mean log-probability of a text and its end, by whole texts."""
    with torch.no_grad():
        logits = decoder(torch.tensor([[START, *text]]), noise(5, 16)[None])[0]
    logits[:, START] = -torch.inf
    logs = logits.log_softmax(dim=-1)
    return sum(float(logs[place, token]) for place, token in enumerate([*text, END])) / (len(text) + 1)


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_that_holds_every_text_finds_the_best_of_all(seed):
    decoder = make_decoder(seed, vocabulary=5)
    texts = [text for length in range(4) for text in itertools.product((2, 3, 4), repeat=length)]
    best = max((text for text in texts if not Free(4).cut(list(text))), key=lambda text: score(decoder, text))
    found = next(hypothesis for hypothesis in search(decoder, 100, 4) if hypothesis.ended)
    assert tuple(found.tokens) == best
    assert found.score == pytest.approx(score(decoder, best))


@pytest.mark.parametrize("width", [1, 2, 5])
def test_scores_are_those_of_the_model_and_the_best_comes_first(width):
    decoder = make_decoder(2)
    found = search(decoder, width, 9)
    assert found == search(decoder, width, 9)
    assert [hypothesis.score for hypothesis in found] == sorted((h.score for h in found), reverse=True)
    for hypothesis in found:
        assert START not in hypothesis.tokens
        assert len(hypothesis.tokens) <= 9
        if hypothesis.ended:
            assert hypothesis.score == pytest.approx(score(decoder, hypothesis.tokens))


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_takes_the_likeliest_token_each_time(seed):
    decoder, tokens = make_decoder(seed), []
    found = search(decoder, 1, 8)[0]
    while len(tokens) < 8 and not Free(8).cut(tokens):
        with torch.no_grad():
            logits = decoder(torch.tensor([[START, *tokens]]), noise(5, 16)[None])[0, -1]
        logits[START] = -torch.inf
        if int(logits.argmax()) == END:
            break
        tokens.append(int(logits.argmax()))
    assert found.tokens == tokens


def test_what_begins_worse_and_goes_on_better_is_found_by_a_wider_beam():
    decoder = Markov(6, {START: {2: 0.5, 3: 0.45}, 2: {4: 0.4, 5: 0.4}, 4: {END: 0.9}, 5: {END: 0.9}, 3: {END: 0.95}})
    assert search(decoder, 1, 9)[0].tokens != [3]
    assert search(decoder, 2, 9)[0].tokens == [3]


def test_unlikely_ends_cut_no_text_short():
    following = {token: {token + 1: 0.9, END: 0.08} for token in range(2, 9)}
    decoder = Markov(10, {START: {2: 0.9, END: 0.08}, **following, 9: {END: 0.9}})
    for width in range(1, 6):
        assert search(decoder, width, 11)[0].tokens == list(range(2, 10))


@pytest.mark.parametrize("width", [1, 2, 5])
def test_what_runs_into_a_limit_has_not_ended(width):
    for table in ({START: {2: 0.9}, 2: {2: 0.999}}, {START: {2: 0.9}, 2: {3: 0.999}, 3: {2: 0.999}}):
        best = search(Markov(6, table), width, 9)[0]
        assert not best.ended
        assert len(best.tokens) == (3 if 3 not in table else 9)
