"""What makes encoder frames of features: convolutions over log-mel frames (Whisper's) or over the wave (Moonshine's).

Both compute the same frames for whole segments and chunk by chunk, however the audio is cut into blocks: ``forward``
for the one, ``step`` with an explicit state for the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtstream.model.config import WAVE_FRAME, WAVE_SEEN

if TYPE_CHECKING:
    from rtstream.model.config import EncoderConfig


def make_front_end(config: EncoderConfig) -> MelFrontEnd | WaveFrontEnd:
    """The front end that ``config`` names."""
    return MelFrontEnd(config) if config.front_end == "mel" else WaveFrontEnd(config)


@dataclass(frozen=True, slots=True)
class MelState:
    """``mel``: frames (n, n_mels) that the first convolution still needs; ``hidden``: (1, d) its last output."""

    mel: Tensor
    hidden: Tensor


class MelFrontEnd(nn.Module):
    """Log-mel frames (100 a second) to encoder frames (50 a second) by two convolutions of width 3, one frame ahead."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(config.n_mels, config.d_model, 3, padding=1)
        self.conv2 = nn.Conv1d(config.d_model, config.d_model, 3, stride=2, padding=1)

    def frames(self, lengths: Tensor) -> Tensor:
        """Encoder frames of so many mel frames (batch,)."""
        return (lengths + 1) // 2

    def forward(self, mel: Tensor, lengths: Tensor | None = None, chunk: int | None = None) -> Tensor:
        """(batch, mel frames, n_mels) to (batch, frames, d_model); ``lengths`` (batch,) mel frames count.

        A frame is the same whatever the ``chunk``.
        """
        del chunk
        x = mel.transpose(1, 2)
        inside: Tensor | None = None
        if lengths is not None:  # what lies past the end must be the convolutions' own zero padding, as in a stream
            inside = (torch.arange(mel.shape[1], device=mel.device) < lengths[:, None])[:, None]
            x = x * inside
        x = F.gelu(self.conv1(x))
        if inside is not None:
            x = x * inside
        return F.gelu(self.conv2(x)).transpose(1, 2)

    def initial_state(self) -> MelState:
        """The state at the start of a segment."""
        weight = self.conv1.weight
        return MelState(weight.new_zeros(1, weight.shape[1]), weight.new_zeros(1, weight.shape[0]))

    def step(self, mel: Tensor, state: MelState, chunk: int) -> tuple[list[Tensor], MelState]:
        """Frames (n, d_model) of each chunk that (n, n_mels) further mel frames complete, and the next state.

        A chunk of C frames needs 2 C + 1 mel frames.
        """
        state = replace(state, mel=torch.cat([state.mel, mel]))
        chunks = []
        # state.mel starts one frame before the next chunk's first, so whole chunks need 2 * chunk + 2 frames of it.
        while state.mel.shape[0] >= 2 * chunk + 2:
            hidden = _convolved(state.mel[: 2 * chunk + 2], self.conv1)
            chunks.append(_convolved(torch.cat([state.hidden, hidden]), self.conv2, stride=2))
            state = MelState(state.mel[2 * chunk :], hidden[-1:])
        return chunks, state

    def finish(self, state: MelState) -> Tensor:
        """The frames of the rest, less than a chunk's, (n, d_model)."""
        if state.mel.shape[0] < 2:
            return state.hidden[:0]
        hidden = _convolved(F.pad(state.mel, (0, 0, 0, 1)), self.conv1)
        padded = F.pad(torch.cat([state.hidden, hidden]), (0, 0, 0, hidden.shape[0] % 2))
        return _convolved(padded, self.conv2, stride=2)


def _convolved(x: Tensor, convolution: nn.Conv1d, stride: int = 1) -> Tensor:
    """GELU of an unpadded convolution of width 3 over (n, channels) frames, (frames, outputs).

    As one product: for so few frames oneDNN takes longer to lay the weights out than to multiply by them.
    """
    windows = x.unfold(0, 3, stride).flatten(1)
    return F.gelu(F.linear(windows, convolution.weight.flatten(1), convolution.bias))


@dataclass(frozen=True, slots=True)
class WaveState:
    """What the convolutions over the wave still need.

    ``audio`` (n,) samples; ``normed`` (n, d) and ``hidden`` (n, 2 d) outputs of the first two convolutions; ``moments``
    (3,): how many numbers the first has given so far, their sum, and the sum of their squares, in double precision.
    """

    audio: Tensor
    normed: Tensor
    hidden: Tensor
    moments: Tensor


class WaveFrontEnd(nn.Module):
    """Samples at 16 kHz to encoder frames of 384 by three convolutions, as Moonshine has them (arXiv 2410.15608).

    Behind the first, and tanh, a group norm of one group brings every recording to one level. Of whole segments its
    mean and variance are the segment's; in chunks they are those of the segment so far, up to the end of the chunk.
    The convolutions have no padding: frame t is made of samples 384 t to 384 t + 894.
    """

    WIDTHS = (127, 7, 3)
    STRIDES = (64, 3, 2)

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        d = config.d_model
        self.conv1 = nn.Conv1d(1, d, self.WIDTHS[0], stride=self.STRIDES[0], bias=False)
        self.norm = nn.GroupNorm(1, d)
        # Convolutions as products with windows, so that they are packed as all other matrices are.
        self.conv2 = nn.Linear(d * self.WIDTHS[1], 2 * d)
        self.conv3 = nn.Linear(2 * d * self.WIDTHS[2], d)

    def frames(self, lengths: Tensor) -> Tensor:
        """Encoder frames of so many samples (batch,)."""
        return ((lengths - WAVE_SEEN) // WAVE_FRAME + 1).clamp(min=0)

    def forward(self, audio: Tensor, lengths: Tensor | None = None, chunk: int | None = None) -> Tensor:
        """(batch, samples) to (batch, frames, d_model); ``lengths`` (batch,) samples count.

        ``chunk`` frames a chunk: the group norm knows no more than what has come by the chunk's end; None: all.
        """
        audio = F.pad(audio, (0, max(WAVE_SEEN - audio.shape[1], 0)))
        x = torch.tanh(self.conv1(audio[:, None])).transpose(1, 2)
        count = x.shape[1]
        ends = torch.full((len(x),), count, device=x.device)
        if lengths is not None:
            ends = ((lengths - self.WIDTHS[0]) // self.STRIDES[0] + 1).clamp(1, count)
        index = torch.arange(count, device=x.device)
        counted = index < ends[:, None]
        sums = torch.stack([x.sum(dim=2), x.square().sum(dim=2)]).double() * counted
        totals = sums.cumsum(dim=2)
        # The first convolution's outputs that have come by the end of the chunk in which each of them comes.
        known = ends[:, None].expand(-1, count)
        if chunk is not None:
            per = 6 * chunk
            known = torch.minimum(((index - 7).clamp(min=0) // per + 1) * per + 7, known)
        total, squares = (row.gather(1, known - 1) for row in totals)
        mean, deviation = self._level(known * x.shape[2], total, squares)
        x = self._normed(x, mean[..., None].to(x.dtype), deviation[..., None].to(x.dtype))
        x = F.gelu(self.conv2(_windows(x, self.WIDTHS[1], self.STRIDES[1])))
        return F.gelu(self.conv3(_windows(x, self.WIDTHS[2], self.STRIDES[2])))

    def _level(self, count: Tensor | float, total: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
        mean = total / count
        return mean, (squares / count - mean.square()).clamp(min=0.0).add(self.norm.eps).sqrt()

    def _normed(self, x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        return torch.addcmul(self.norm.bias, (x - mean) / deviation, self.norm.weight)

    def initial_state(self) -> WaveState:
        """The state at the start of a segment."""
        weight = self.norm.weight
        d = len(weight)
        nothing = torch.zeros(3, dtype=torch.float64, device=weight.device)
        return WaveState(weight.new_zeros(0), weight.new_zeros(0, d), weight.new_zeros(0, 2 * d), nothing)

    def step(self, audio: Tensor, state: WaveState, chunk: int) -> tuple[list[Tensor], WaveState]:
        """Frames (n, d_model) of each chunk that (n,) further samples complete, and the next state.

        A chunk of C frames needs 384 C samples, the first one 511 more.
        """
        state = replace(state, audio=torch.cat([state.audio, audio]))
        chunks = []
        # The first chunk brings what the windows of all later ones overlap by, too.
        while self._outputs(state) >= (wanted := 6 * chunk + (0 if float(state.moments[0]) else 7)):
            frames, state = self._convolve(state, wanted)
            chunks.append(frames)
        return chunks, state

    def finish(self, state: WaveState) -> Tensor:
        """The frames of the rest, less than a chunk's, (n, d_model)."""
        outputs = self._outputs(state)
        return self._convolve(state, outputs)[0] if outputs > 0 else state.normed[:0]

    def _outputs(self, state: WaveState) -> int:
        """How many further outputs the first convolution can give."""
        return (len(state.audio) - self.WIDTHS[0]) // self.STRIDES[0] + 1

    def _convolve(self, state: WaveState, outputs: int) -> tuple[Tensor, WaveState]:
        """Frames that so many further outputs of the first convolution complete."""
        (width, *widths), (stride, *strides) = self.WIDTHS, self.STRIDES
        used = state.audio[: width + (outputs - 1) * stride].unfold(0, width, stride)
        x = torch.tanh(F.linear(used, self.conv1.weight.flatten(1)))
        sums = torch.stack([x.sum(dim=1), x.square().sum(dim=1)]).double().sum(dim=1)
        moments = state.moments + torch.cat([sums.new_tensor([x.numel()]), sums])
        mean, deviation = self._level(*moments)
        normed = torch.cat([state.normed, self._normed(x, mean.to(x.dtype), deviation.to(x.dtype))])
        hidden, normed = self._through(normed, self.conv2, widths[0], strides[0])
        hidden = torch.cat([state.hidden, hidden])
        frames, hidden = self._through(hidden, self.conv3, widths[1], strides[1])
        return frames, WaveState(state.audio[outputs * stride :], normed, hidden, moments)

    @staticmethod
    def _through(x: Tensor, convolution: nn.Linear, width: int, stride: int) -> tuple[Tensor, Tensor]:
        """What a convolution makes of (n, channels), and which of them its next window needs."""
        if len(x) < width:
            return x.new_zeros(0, convolution.bias.shape[0]), x
        y: Tensor = F.gelu(convolution(_windows(x, width, stride)))
        return y, x[len(y) * stride :]


def _windows(x: Tensor, width: int, stride: int) -> Tensor:
    """(..., n, channels) to (..., windows, width * channels)."""
    return x.unfold(-2, width, stride).transpose(-1, -2).flatten(-2)
