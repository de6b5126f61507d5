"""The losses of one batch: distance to the teacher's states, CTC, and cross-entropy through the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtstream.events import SAMPLE_RATE
from rtstream.features.log_mel import HOP, N_FFT, LogMel
from rtstream.nn.ctc import BLANK
from rtstream.training.data import IGNORED, Batch
from rtstream.training.prefix import cut_prefixes

if TYPE_CHECKING:
    from rtstream.nn.encoder import Encoder
    from rtstream.nn.model import SpeechModel

PADDING_SECONDS = 3  # silence after the batch's longest clip; Whisper's own 30 s would cost ten times as much


class Teacher(nn.Module):
    """The teacher's encoder on clean, padded audio, with Whisper's own clamp of each recording's features."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(requires_grad=False)
        self.features = LogMel(encoder.config.n_mels)

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """(batch, samples) to states (batch, frames, d_model), more frames than the audio has."""
        log = self.features.energies(F.pad(audio, (N_FFT // 2, PADDING_SECONDS * SAMPLE_RATE)))
        mel = (torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0) + 4.0) / 4.0
        states: Tensor = self.encoder(mel)
        return states


@dataclass(frozen=True, slots=True)
class Losses:
    """Unweighted losses: distance relative to the teacher's energy, CTC a letter or end, cross-entropy a token."""

    distance: Tensor
    ctc: Tensor
    decoder: Tensor
    tokens_right: Tensor


def losses(
    model: SpeechModel,
    mel: Tensor,
    batch: Batch,
    *,
    chunk: int | None,
    teacher_states: Tensor | None,
    label_smoothing: float,
    generator: torch.Generator,
    prefixes: float = 0.0,
) -> Losses:
    """Forward the batch's features (batch, mel frames, n_mels) and compute every loss.

    ``prefixes``: share of the clips of which the decoder sees, and learns, a beginning only; drawn by ``generator``.
    """
    lengths = (batch.samples + HOP - 1) // HOP
    states = model.encoder(mel, lengths, chunk)
    frames = (lengths + 1) // 2
    mask = torch.arange(states.shape[1], device=states.device) < frames[:, None]
    zero = states.sum() * 0.0

    distance = zero
    if teacher_states is not None:
        goal = teacher_states[:, : states.shape[1]].float()[mask]
        distance = (states.float()[mask] - goal).square().sum() / goal.square().sum()

    labelled = batch.letter_counts >= 0
    ctc = decoder = right = zero
    if bool(labelled.any()):
        log_probs = model.ctc(states[labelled]).transpose(0, 1)
        counts = batch.letter_counts[labelled]
        summed = F.ctc_loss(
            log_probs, batch.letters, frames[labelled], counts, BLANK, reduction="sum", zero_infinity=True
        )
        ctc = summed / (counts + 1).sum()  # the end counts too: a batch of noise alone has no letter to divide by

        visible, targets = frames, batch.targets
        if chunk is not None and prefixes > 0:
            posteriors = log_probs.new_zeros(len(labelled), *log_probs.shape[::2])
            posteriors[labelled] = log_probs.detach().transpose(0, 1)
            visible, targets = cut_prefixes(batch, posteriors, frames, chunk=chunk, share=prefixes, generator=generator)
        seen = torch.arange(states.shape[1], device=states.device) < visible[:, None]
        targets = targets[labelled]
        logits = model.decoder(batch.tokens[labelled], states[labelled], seen[labelled]).float()
        decoder = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, label_smoothing=label_smoothing
        )
        counted = targets != IGNORED
        right = (logits.argmax(dim=-1) == targets)[counted].float().mean()
    return Losses(distance, ctc, decoder, right.detach())
