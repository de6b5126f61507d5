"""Beam search against what a model with a known distribution must give."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rtstream.engine.torch_int8 import TorchTextEngine
from rtstream.model.config import DecoderConfig, StackConfig, TextModelConfig
from rtstream.nn.text_model import TextModel
from rtstream.translation.search import LENGTH_PENALTY, Rules, Task, forbidden, most_tokens, search

SIZE, END, COPY, PAD = 12, 2, 3, 0


def make(seed=0):
    torch.manual_seed(seed)
    model = TextModel(TextModelConfig(StackConfig(16, 2, 24, 2), DecoderConfig(SIZE, 16, 2, 24, 1, 30))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def rules(banned=(PAD, 1, 4), inside=()):
    return Rules(END, COPY, PAD, forbidden(SIZE, banned), forbidden(SIZE, inside))


TASK = Task([4, 5, 6, END], [4])


def probability(model, task, text):
    """Log-probability of ids and their end under the model, banned ones left in."""
    mask = torch.ones(1, len(task.source), dtype=torch.bool)
    tokens = torch.tensor([[*task.start, *text]])
    with torch.no_grad():
        logits = model.decoder.logits(model(torch.tensor([task.source]), mask, tokens))
    logs = logits.log_softmax(-1)[0, len(task.start) - 1 :]
    return sum(float(logs[i, token]) for i, token in enumerate([*text, END]))


def normalized(model, task, text):
    return probability(model, task, text) / ((5 + len(text) + 1) / 6) ** LENGTH_PENALTY


@pytest.mark.parametrize("seed", range(4))
def test_wider_beam_finds_nothing_worse(seed):
    model = make(seed)
    found = [search(TorchTextEngine(model), [TASK], rules(), beam)[0] for beam in (1, 4)]
    assert normalized(model, TASK, found[1]) >= normalized(model, TASK, found[0]) - 0.2


def test_greedy_takes_the_best_token_each_time():
    model = make()
    (found,) = search(TorchTextEngine(model), [TASK], rules(banned=(PAD, 1, 4), inside=()))
    mask = torch.ones(1, len(TASK.source), dtype=torch.bool)
    for position in range(len(found)):
        tokens = torch.tensor([[*TASK.start, *found[:position]]])
        logits = model.decoder.logits(model(torch.tensor([TASK.source]), mask, tokens))[0, -1]
        logits[[PAD, 1, 4, COPY]] = float("-inf")
        history = found[:position]
        if len(history) < 3:  # before the guard against loops may have its say
            assert int(logits.argmax()) == found[position]


def test_tasks_of_one_batch_do_not_touch_one_another():
    model = make()
    tasks = [TASK, Task([4, 7, 8, 9, 5, END], [4]), Task([4, END], [4])]
    for beam in (1, 3):
        assert search(TorchTextEngine(model), tasks, rules(), beam) == [
            search(TorchTextEngine(model), [task], rules(), beam)[0] for task in tasks
        ]


def test_banned_tokens_never_come_and_copies_only_as_often_as_there_are():
    model = make()
    for seed, copies in itertools.product(range(3), (0, 2)):
        (found,) = search(TorchTextEngine(make(seed)), [Task([4, 5, 6, 7, END], [4], copies)], rules(), 2)
        assert not {PAD, 1, 4, END} & set(found)
        assert found.count(COPY) <= copies
    everything = rules(banned=[n for n in range(SIZE) if n != END])
    assert search(TorchTextEngine(model), [TASK], everything, 4) == [[]]


def test_first_token_does_not_go_on_with_a_word_that_has_ended():
    model = make()
    inside = tuple(range(5, SIZE - 1))
    (found,) = search(TorchTextEngine(model), [Task(TASK.source, [4, 6], glue=False)], rules(inside=inside), 2)
    assert not found or found[0] not in inside


def test_nothing_is_said_for_ever():
    loud = SimpleNamespace(calls=0)

    class Loop(TorchTextEngine):
        def decode_batch(self, tokens, state):
            loud.calls += 1
            logits, state = super().decode_batch(tokens, state)
            logits = np.zeros_like(logits)
            logits[:, 7] = 9.0
            return logits, state

    (found,) = search(Loop(make()), [TASK], rules())
    assert len(found) <= most_tokens(len(TASK.source), 29)
    assert found[:4] != [7] * 4
    assert loud.calls <= most_tokens(len(TASK.source), 29)


def test_starts_of_different_lengths_are_an_error():
    with pytest.raises(ValueError, match="as many tokens"):
        search(TorchTextEngine(make()), [TASK, Task([4, 5, END], [4, 6])], rules())
