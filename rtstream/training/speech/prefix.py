"""Teaching the decoder to stop where the audio does.

A partial is the decoder's text over the chunks that have come so far, so it must write the words that were said to
their end, and no more. With attention by chunk the states before a cut are those of a stream that has come so far:
hiding the later ones from the decoder, and ending its target after the last whole word, trains exactly that.
Where the words end is read off the CTC posteriors of the same forward pass (after CarelessWhisper, arXiv 2508.12301).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rtstream.recognizer.ctc_search import align
from rtstream.training.corpus.data import IGNORED

if TYPE_CHECKING:
    from torch import Tensor

    from rtstream.training.corpus.data import Batch

SETTLE_FRAMES = 6
"""Frames (20 ms) of audio after a word's last letter without which the word does not count as said."""


def cut_prefixes(
    batch: Batch,
    log_probs: Tensor,
    frames: Tensor,
    *,
    chunk: int,
    share: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Cut a share of the rows at a random chunk's end.

    ``log_probs`` (batch, frames, symbols) are CTC's, ``frames`` (batch,) those that count. Returns the frames that the
    decoder may see (batch,) and its targets (batch, n), both unchanged for rows that are not cut.
    """
    visible, targets = frames.clone(), batch.targets.clone()
    counts = batch.letter_counts.clamp(min=0).tolist()
    starts = torch.tensor([0, *counts]).cumsum(0).tolist()
    posteriors = log_probs.detach().float().cpu().numpy()
    for row, count in enumerate(counts):
        chunks = int(frames[row]) // chunk
        if chunks < 1 or float(torch.rand(1, generator=generator)) >= share:
            continue
        cut = chunk * int(torch.randint(1, chunks + 1, (1,), generator=generator))
        if not count:  # nothing to write of it, however much is heard
            visible[row] = cut
            continue
        symbols = batch.letters[starts[row] : starts[row] + count].tolist()
        aligned = align(posteriors[row, : int(frames[row])], symbols)
        if aligned is None:
            continue
        space = 1  # the first of the letters
        last_letters = [i for i, s in enumerate(symbols) if i + 1 == count or symbols[i + 1] == space]
        said = sum(int(aligned.last[i]) <= cut - SETTLE_FRAMES for i in last_letters)
        last = int((targets[row] != IGNORED).nonzero()[-1])
        first, end = last - int(batch.word_tokens[row].max()), targets[row, last].clone()
        kept = first + (int(batch.word_tokens[row, said - 1]) if said else 0)
        visible[row] = cut
        targets[row, kept] = end
        targets[row, kept + 1 :] = IGNORED
    return visible, targets
