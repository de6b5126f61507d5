import numpy as np
import pytest
import torch

from rtstream.training.corpus.data import IGNORED, Batch
from rtstream.training.corpus.text import letter_ids
from rtstream.training.speech.prefix import SETTLE_FRAMES, cut_prefixes

PROMPT, END = 3, 99


def make_batch(*texts, prompt=PROMPT):
    """One token a word, numbered; the decoder learns from the last token of the prompt on."""
    words = [text.split() for text in texts]
    width = prompt + 1 + max(map(len, words))
    targets = torch.full((len(texts), width), IGNORED)
    for row, said in enumerate(words):
        targets[row, prompt : prompt + len(said) + 1] = torch.tensor([*range(10, 10 + len(said)), END])
    counts = torch.tensor([len(text) for text in texts])
    letters = torch.tensor([symbol for text in texts for symbol in letter_ids(text)])
    ends = torch.nn.utils.rnn.pad_sequence([torch.arange(1, len(said) + 1) for said in words], batch_first=True)
    empty = torch.zeros(len(texts), 1)
    goals = torch.zeros(len(texts), 0, 0)
    return Batch(
        empty,
        counts,
        targets,
        targets,
        letters,
        counts,
        ends,
        goals,
        torch.zeros_like(counts),
        torch.zeros_like(counts),
    )


def spoken(texts, frames, every=4):
    """Posteriors in which letter i of a text is said at frame ``every`` * i."""
    table = np.full((len(texts), frames, 29), 1e-3, np.float32)
    table[:, :, 0] = 1.0
    for row, text in enumerate(texts):
        for index, symbol in enumerate(letter_ids(text)):
            table[row, every * index, [0, symbol]] = 1e-3, 1.0
    return torch.from_numpy(np.log(table / table.sum(axis=2, keepdims=True)))


def cut(texts, seed=0, share=1.0, chunk=8, frames=64, *, prompt=PROMPT):
    batch = make_batch(*texts, prompt=prompt)
    lengths = torch.full((len(texts),), frames)
    generator = torch.Generator().manual_seed(seed)
    return batch, cut_prefixes(batch, spoken(texts, frames), lengths, chunk=chunk, share=share, generator=generator)


@pytest.mark.parametrize("prompt", [0, PROMPT])  # without a language the first target is text
@pytest.mark.parametrize("seed", range(12))
def test_a_cut_row_learns_the_words_said_to_their_end_and_then_to_stop(seed, prompt):
    text = "ab cd ef gh"
    _, (visible, targets) = cut([text], seed, prompt=prompt)
    seen = int(visible[0])
    assert seen % 8 == 0
    ends = [4 * (text.index(word) + len(word) - 1) for word in text.split()]
    said = sum(end <= seen - SETTLE_FRAMES for end in ends)
    learnt = targets[0][targets[0] != IGNORED].tolist()
    assert learnt == [*range(10, 10 + said), END]


def test_rows_that_are_not_cut_stay_as_they_were():
    batch, (visible, targets) = cut(["ab cd", "ef"], share=0.0)
    assert (visible == 64).all()
    assert (targets == batch.targets).all()


def test_of_a_silent_row_less_is_heard_and_the_same_learnt():
    _, (visible, targets) = cut(["", "ab cd ef"])
    assert int(visible[0]) in range(8, 65, 8)
    assert targets[0][targets[0] != IGNORED].tolist() == [END]


def test_the_batch_itself_is_not_changed():
    batch, _ = cut(["ab cd ef gh"], seed=3)
    assert (batch.targets == make_batch("ab cd ef gh").targets).all()


def test_the_same_draw_cuts_the_same():
    first, second = cut(["ab cd ef gh"] * 5, seed=7)[1], cut(["ab cd ef gh"] * 5, seed=7)[1]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
