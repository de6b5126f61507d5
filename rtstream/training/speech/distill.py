"""The losses of one batch: distance to the teacher's states, CTC, and the decoder's against texts and teacher."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtstream.model.config import BLANK
from rtstream.nn.features import LogMel, Wave
from rtstream.nn.voice import pooled
from rtstream.recognizer.context import context_samples, seen_frames
from rtstream.training.corpus.data import IGNORED, Batch
from rtstream.training.speech.prefix import cut_prefixes
from rtstream.training.speech.whisper import whisper_features

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtstream.model.config import EncoderConfig
    from rtstream.nn.decoder import Decoder
    from rtstream.nn.encoder import Encoder
    from rtstream.nn.model import SpeechModel

LEAST_ATTENTION = 1e-5
"""Attention below counts as this much: of how little a frame gets there is nothing to learn."""


class Teacher(nn.Module):
    """The teacher's encoder: Whisper's on padded audio, with its own clamp of each recording's features."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(requires_grad=False)
        self.features = LogMel(encoder.config.n_mels)

    @torch.no_grad()
    def forward(self, audio: Tensor, samples: Tensor | None = None) -> Tensor:
        """(batch, n), of which ``samples`` (batch,) count, to states (batch, frames, d_model), the padding's too."""
        if self.encoder.config.front_end == "wave":
            whole: Tensor = self.encoder(audio, samples)
            return whole
        wanted = context_samples(audio.shape[1], self.encoder.config)
        states: Tensor = self.encoder(whisper_features(self.features, audio, wanted))
        return states


@dataclass(frozen=True, slots=True)
class Losses:
    """Unweighted losses.

    ``distance`` relative to the energy of the teacher's states; ``ctc`` a letter or end; ``voice`` cross-entropy of who
    speaks, a clip; ``read`` the decoder's.
    """

    distance: Tensor
    ctc: Tensor
    voice: Tensor
    read: ReadLosses


@dataclass(frozen=True, slots=True)
class ReadLosses:
    """Unweighted losses of the decoder, a token.

    ``decoder``: cross-entropy. Against the guide, where there is one: ``imitation`` divergence from its distribution,
    ``hidden`` squared distance from its normed last output to that one's energy, ``attention`` divergence from where
    its alignment heads look. ``right``: share of tokens that are likeliest and true.
    """

    decoder: Tensor
    imitation: Tensor
    hidden: Tensor
    attention: Tensor
    right: Tensor

    @classmethod
    def none(cls, zero: Tensor) -> ReadLosses:
        """Those of no token."""
        return cls(zero, zero, zero, zero, zero.detach())


@dataclass(frozen=True, slots=True)
class Guidance:
    """What the decoder that is imitated makes of each row's tokens, over the teacher's own states.

    ``log_probs`` (rows, n, vocabulary), ``hidden`` its last output, normed, (rows, n, d_model), ``attention`` of its
    alignment heads (rows, n, frames).
    """

    log_probs: Tensor
    hidden: Tensor
    attention: Tensor

    def of(self, rows: Tensor) -> Guidance:
        """That of some rows, a mask (rows,)."""
        return Guidance(self.log_probs[rows], self.hidden[rows], self.attention[rows])


def losses(
    model: SpeechModel,
    features: Callable[[Tensor], Tensor],
    batch: Batch,
    *,
    chunk: int | None,
    theirs: Guidance | None,
    label_smoothing: float,
    generator: torch.Generator,
    prefixes: float = 0.0,
) -> Losses:
    """Forward the batch and compute every loss. ``features`` as ``make_features`` gives them, or changed.

    With ``chunk`` None the clips are padded as the recognizer pads whole segments. ``theirs``: what ``imitated`` gave,
    if the teacher is to be imitated. ``prefixes``: share of the clips of which the decoder sees, and learns, a
    beginning only; drawn by ``generator``.
    """
    sizes = model.config.encoder
    lengths = feature_rows(batch.samples, sizes)
    heard = model.encoder.front.frames(lengths)
    if chunk is None:
        wanted = context_samples(batch.audio.shape[1], sizes)
        padded = features(F.pad(batch.audio, (0, wanted - batch.audio.shape[1])))
        states = model.encoder(padded, lengths if sizes.front_end == "wave" else None)
        frames = (heard + seen_frames(sizes)).clamp(max=states.shape[1])
    else:
        states = model.encoder(features(batch.audio), lengths, chunk)
        frames = heard
    # The heads always learn: a batch of which nothing is learnt has a gradient too.
    zero = states.sum() * 0.0 + model.ctc.output.bias.sum() * 0.0
    voice = zero
    if model.voice is not None:  # asked when so much of each clip has been heard as a stream may have
        share = 1.0 if chunk is None else 0.2 + 0.8 * torch.rand(len(heard), generator=generator).to(heard.device)
        voice = voice_loss(model, states, (heard * share).long().clamp(min=1), batch.voices)

    both = min(states.shape[1], batch.goals.shape[1])  # by chunk the goals go on where the states have ended
    taught = inside(torch.minimum(frames, batch.goal_counts), both)
    distance = zero
    if bool(taught.any()):
        goal = batch.goals[:, :both][taught].float()
        distance = (states[:, :both][taught].float() - goal).square().sum() / goal.square().sum()

    rows = batch.letter_counts >= 0
    if not bool(rows.any()):
        return Losses(distance, zero, voice, ReadLosses.none(zero))
    log_probs = model.ctc(states[:, : int(heard.max())])
    if not (states.requires_grad or model.decoder.norm.weight.requires_grad):  # the heads alone learn
        return Losses(distance, ctc_loss(log_probs, heard, batch, rows), voice, ReadLosses.none(zero))
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
    return Losses(distance, ctc_loss(log_probs, heard, batch, rows), voice, read)


def voice_loss(model: SpeechModel, states: Tensor, counts: Tensor, voices: Tensor) -> Tensor:
    """Cross-entropy of who speaks in the first ``counts`` (batch,) states; zero of a model that does not say it."""
    if model.voice is None:
        return states.sum() * 0.0
    scores = pooled(model.voice(states), inside(counts.clamp(min=1), states.shape[1]))
    return F.cross_entropy(scores, voices)


def rehearsal(model: SpeechModel, batch: Batch, *, theirs: Guidance | None, label_smoothing: float) -> Losses:
    """CTC, who speaks and the decoder's losses over the teacher's own states, from which there is no distance.

    These are what full context gives where it is kept fixed. ``theirs`` as for ``losses``. All zero where no clip with
    a reference has such states. A decoder that does not learn is not asked.
    """
    known = batch.goal_counts > 0
    labelled = batch.letter_counts >= 0
    rows = labelled & known
    states = batch.goals.to(model.decoder.norm.weight.dtype)
    zero = states.sum() * 0.0 + model.ctc.output.bias.sum() * 0.0
    heard = model.encoder.front.frames(feature_rows(batch.samples, model.config.encoder))
    heard = torch.minimum(heard, batch.goal_counts)
    voice = voice_loss(model, states[known], heard[known], batch.voices[known]) if bool(known.any()) else zero
    if not bool(rows.any()):
        return Losses(zero, zero, voice, ReadLosses.none(zero))
    ctc = ctc_loss(model.ctc(states[:, : int(heard.max())]), heard, batch, rows)
    if not model.decoder.norm.weight.requires_grad:
        return Losses(zero, ctc, voice, ReadLosses.none(zero))
    read = read_losses(
        model.decoder,
        states,
        batch,
        visible=batch.goal_counts,
        targets=batch.targets,
        rows=rows,
        theirs=None if theirs is None else theirs.of(rows[labelled]),
        label_smoothing=label_smoothing,
    )
    return Losses(zero, ctc, voice, read)


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
    theirs: Guidance | None,
    label_smoothing: float,
) -> ReadLosses:
    """The decoder's losses of the clips ``rows`` (batch,); ``theirs`` is what the guide makes of these.

    ``visible`` (batch,) of the ``states`` are seen; ``targets`` (batch, n) may be cut short of the batch's.
    """
    hidden, looked = decoder.follow(batch.tokens[rows], states[rows], inside(visible, states.shape[1])[rows])
    logits = decoder.logits(hidden).float()
    wanted = targets[rows]
    entropy = F.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, label_smoothing=label_smoothing
    )
    counted = wanted != IGNORED
    right = (logits.argmax(dim=-1) == wanted)[counted].float().mean().detach()
    nothing = replace(ReadLosses.none(entropy * 0.0), decoder=entropy, right=right)
    if theirs is None:
        return nothing
    # Where a beginning ends, the teacher, who hears it all, would go on; and of noise it writes what noise it is.
    speech = (batch.goal_counts > 0) & (batch.letter_counts > 0)
    shared = counted & (wanted == batch.targets[rows]) & speech[rows][:, None]
    if not bool(shared.any()):
        return nothing
    goal = theirs.hidden[shared].float()
    frames = min(looked.shape[-1], theirs.attention.shape[-1])
    look, their_look = (_log(x[shared][:, :frames]) for x in (looked, theirs.attention))
    return replace(
        nothing,
        imitation=F.kl_div(
            F.log_softmax(logits[shared], dim=-1), theirs.log_probs[shared], log_target=True, reduction="batchmean"
        ),
        hidden=(decoder.norm(hidden[shared]).float() - goal).square().sum() / goal.square().sum(),
        attention=F.kl_div(look, their_look, log_target=True, reduction="batchmean"),
    )


def _log(attention: Tensor) -> Tensor:
    return attention.float().clamp(min=LEAST_ATTENTION).log()


def feature_rows(samples: Tensor, config: EncoderConfig) -> Tensor:
    """How many features so many samples (batch,) make."""
    return (LogMel if config.front_end == "mel" else Wave).rows(samples)


def inside(counts: Tensor, frames: int) -> Tensor:
    """(batch, frames), true in the first ``counts`` (batch,) of each row."""
    return torch.arange(frames, device=counts.device) < counts[:, None]


@torch.no_grad()
def imitated(guide: Decoder, batch: Batch) -> Guidance | None:
    """What the decoder ``guide`` makes of the clips with a reference, if any; it knows the student's tokens."""
    rows = batch.letter_counts >= 0
    if not bool(rows.any()):
        return None
    mask = inside(batch.goal_counts.clamp(min=1), max(1, batch.goals.shape[1]))[rows]
    states = batch.goals[rows].to(guide.norm.weight.dtype)
    if not states.numel():
        states = guide.norm.weight.new_zeros(len(states), 1, guide.config.d_model)
    hidden, attention = guide.follow(batch.tokens[rows], states, mask)
    return Guidance(F.log_softmax(guide.logits(hidden).float(), dim=-1), guide.norm(hidden), attention)
