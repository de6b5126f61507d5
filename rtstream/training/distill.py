"""The losses of one batch: distance to the teacher's states, CTC, and the decoder's against texts and teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtstream.features.log_mel import HOP, LogMel
from rtstream.nn.ctc import BLANK
from rtstream.recognizer.context import SEEN_FRAMES, context_samples
from rtstream.training.data import IGNORED, Batch
from rtstream.training.prefix import cut_prefixes
from rtstream.training.whisper import whisper_features

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.nn.decoder import Decoder
    from rtstream.nn.encoder import Encoder
    from rtstream.nn.model import SpeechModel


class Teacher(nn.Module):
    """The teacher's encoder on padded audio, with Whisper's own clamp of each recording's features."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(requires_grad=False)
        self.features = LogMel(encoder.config.n_mels)

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """(batch, samples) to states (batch, frames, d_model) of the audio and its padding."""
        wanted = context_samples(audio.shape[1], self.encoder.config.max_frames)
        states: Tensor = self.encoder(whisper_features(self.features, audio, wanted))
        return states


@dataclass(frozen=True, slots=True)
class Losses:
    """Unweighted losses.

    ``distance`` relative to the energy of the teacher's states; ``ctc`` a letter or end; ``decoder`` cross-entropy a
    token; ``imitation`` the divergence of the decoder's distribution from the teacher's, a token.
    """

    distance: Tensor
    ctc: Tensor
    decoder: Tensor
    imitation: Tensor
    tokens_right: Tensor


def losses(
    model: SpeechModel,
    features: Callable[[Tensor], Tensor],
    batch: Batch,
    *,
    chunk: int | None,
    theirs: Tensor | None,
    label_smoothing: float,
    generator: torch.Generator,
    prefixes: float = 0.0,
) -> Losses:
    """Forward the batch and compute every loss.

    With ``chunk`` None the clips are padded as the recognizer pads whole segments. ``theirs``: what ``imitated`` gave,
    if the teacher is to be imitated. ``prefixes``: share of the clips of which the decoder sees, and learns, a
    beginning only; drawn by ``generator``.
    """
    lengths = (batch.samples + HOP - 1) // HOP
    heard = (lengths + 1) // 2
    if chunk is None:
        wanted = context_samples(batch.audio.shape[1], model.config.encoder.max_frames)
        states = model.encoder(features(F.pad(batch.audio, (0, wanted - batch.audio.shape[1]))))
        frames = (heard + SEEN_FRAMES).clamp(max=states.shape[1])
    else:
        states = model.encoder(features(batch.audio), lengths, chunk)
        frames = heard
    zero = states.sum() * 0.0

    both = min(states.shape[1], batch.goals.shape[1])  # by chunk the goals go on where the states have ended
    taught = inside(torch.minimum(frames, batch.goal_counts), both)
    distance = zero
    if bool(taught.any()):
        goal = batch.goals[:, :both][taught].float()
        distance = (states[:, :both][taught].float() - goal).square().sum() / goal.square().sum()

    rows = batch.letter_counts >= 0
    if not bool(rows.any()):
        return Losses(distance, zero, zero, zero, zero.detach())
    log_probs = model.ctc(states[:, : int(heard.max())])
    visible, targets = frames, batch.targets
    if chunk is not None and prefixes > 0:
        visible, targets = cut_prefixes(batch, log_probs, frames, chunk=chunk, share=prefixes, generator=generator)
    read = read_losses(
        model.decoder,
        states,
        batch,
        visible=visible,
        targets=targets,
        rows=rows,
        theirs=theirs,
        label_smoothing=label_smoothing,
    )
    return Losses(distance, ctc_loss(log_probs, heard, batch, rows), *read)


def rehearsal(
    model: SpeechModel, batch: Batch, *, theirs: Tensor | None, label_smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """CTC, cross-entropy and imitation over the teacher's own states, which full context gives where it is kept fixed.

    ``theirs`` as for ``losses``. All zero where no clip with a reference has such states.
    """
    labelled = batch.letter_counts >= 0
    rows = labelled & (batch.goal_counts > 0)
    states = batch.goals.to(model.decoder.positions.dtype)
    if not bool(rows.any()):
        zero = states.sum() * 0.0
        return zero, zero, zero
    heard = torch.minimum((batch.samples + 2 * HOP - 1) // (2 * HOP), batch.goal_counts)
    read = read_losses(
        model.decoder,
        states,
        batch,
        visible=batch.goal_counts,
        targets=batch.targets,
        rows=rows,
        theirs=None if theirs is None else theirs[rows[labelled]],
        label_smoothing=label_smoothing,
    )
    return ctc_loss(model.ctc(states[:, : int(heard.max())]), heard, batch, rows), *read[:2]


def ctc_loss(log_probs: Tensor, heard: Tensor, batch: Batch, rows: Tensor) -> Tensor:
    """A letter or end, of the clips ``rows`` (batch,); ``log_probs`` (batch, frames, symbols), ``heard`` that count."""
    counts = batch.letter_counts
    # The letters lie one clip after another: those of rows that are left out are not to be counted.
    kept = rows[counts >= 0].repeat_interleave(counts[counts >= 0])
    summed = F.ctc_loss(
        log_probs[rows].transpose(0, 1),
        batch.letters[kept],
        heard[rows],
        counts[rows],
        BLANK,
        reduction="sum",
        zero_infinity=True,
    )
    return summed / (counts[rows] + 1).sum()  # the end counts too: a batch of noise alone has no letter to divide by


def read_losses(
    decoder: Decoder,
    states: Tensor,
    batch: Batch,
    *,
    visible: Tensor,
    targets: Tensor,
    rows: Tensor,
    theirs: Tensor | None,
    label_smoothing: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy and divergence from ``theirs`` a token, and share of tokens right, of the clips ``rows`` (batch,).

    ``visible`` (batch,) of the ``states`` are seen; ``targets`` (batch, n) may be cut short of the batch's.
    """
    logits = decoder(batch.tokens[rows], states[rows], inside(visible, states.shape[1])[rows]).float()
    wanted = targets[rows]
    entropy = F.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, label_smoothing=label_smoothing
    )
    counted = wanted != IGNORED
    right = (logits.argmax(dim=-1) == wanted)[counted].float().mean().detach()
    if theirs is None:
        return entropy, entropy * 0.0, right
    # Where a beginning ends, the teacher, who hears it all, would go on; and of noise it writes what noise it is.
    speech = (batch.goal_counts > 0) & (batch.letter_counts > 0)
    shared = counted & (wanted == batch.targets[rows]) & speech[rows][:, None]
    if not bool(shared.any()):
        return entropy, entropy * 0.0, right
    ours = F.log_softmax(logits[shared], dim=-1)
    return entropy, F.kl_div(ours, theirs[shared], log_target=True, reduction="batchmean"), right


def inside(counts: Tensor, frames: int) -> Tensor:
    """(batch, frames), true in the first ``counts`` (batch,) of each row."""
    return torch.arange(frames, device=counts.device) < counts[:, None]


@torch.no_grad()
def imitated(guide: Decoder, batch: Batch) -> Tensor | None:
    """The teacher's log-probabilities (rows, n, vocabulary) after each token of the clips with a reference, if any.

    ``guide`` is its decoder over the student's tokens; it reads the teacher's own states.
    """
    rows = batch.letter_counts >= 0
    if not bool(rows.any()):
        return None
    mask = inside(batch.goal_counts.clamp(min=1), max(1, batch.goals.shape[1]))[rows]
    states = batch.goals[rows].to(guide.positions.dtype)
    if not states.numel():
        states = guide.positions.new_zeros(len(states), 1, guide.positions.shape[1])
    return F.log_softmax(guide(batch.tokens[rows], states, mask).float(), dim=-1)
