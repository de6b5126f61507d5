"""How the matrices of a model are rounded for a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from rtstream.bundle.bundle import read_manifest
from rtstream.bundle.deflate import BITS, step_of
from rtstream.bundle.files import WEIGHTS, read_tensors
from rtstream.errors import BundleError
from rtstream.model.shapes import SCALE, TABLE
from rtstream.nn.quantized import (
    State,
    convolutions,
    dequantize_state,
    low_rank_names,
    nearest,
    quantize,
    quantize_state,
    rounded_names,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from rtstream.nn.model import SpeechModel
    from rtstream.nn.text_model import TextModel


@dataclass(frozen=True, slots=True)
class Rounding:
    """What a file's matrices are rounded to.

    ``bits``: about how many a weight takes, 8 for all of int8, None for float16. ``encoder_bits`` and ``table_bits``:
    those of the encoder and of the decoder's table of tokens, where they differ. ``private_bits``: those of private
    low-rank parts, None for all of int8. ``grams``: of the rows that matrices
    multiply, by the names of their weights; these are then rounded for the least error of what they give. ``kept``:
    what is rounded already, see ``unchanged``.
    """

    bits: float | None = BITS
    encoder_bits: float | None = None
    table_bits: float | None = None
    private_bits: float | None = None
    grams: Mapping[str, Tensor] = field(default_factory=dict)
    kept: State = field(default_factory=dict)


USUAL = Rounding()


def rounded_state(model: SpeechModel | TextModel, rounding: Rounding) -> State:
    """The model's tensors, its matrices as int8 and their scales beside them unless ``bits`` is None.

    Convolutions and the heads, which are small, have all of int8; so have private low-rank parts, unless they have bits
    of their own.
    """
    exact = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    bits = rounding.bits
    if bits is None:
        return exact
    steps = dict.fromkeys(exact, 0.0)
    for name in rounded_names(model):
        own = rounding.table_bits if name == TABLE else rounding.encoder_bits if name.startswith("encoder.") else None
        steps[name] = step_of(own or bits)
    if rounding.private_bits is not None:
        steps |= dict.fromkeys(low_rank_names(model), step_of(rounding.private_bits))
    state = quantize_state(exact, model.config, steps.__getitem__, rounding.grams)
    for name in convolutions(model):  # which hear first
        numbers, state[name + SCALE] = quantize(exact[name].flatten(start_dim=1))
        state[name] = numbers.view(exact[name].shape)
    return state | rounding.kept


def unchanged(exact: State, rounded: State) -> State:
    """Of the int8 tensors of ``rounded``, and their scales, those that are exactly the tensors of ``exact``."""
    numbers = {name for name, tensor in rounded.items() if tensor.dtype == torch.int8}
    floats = dequantize_state({name: rounded[name] for name in numbers | {name + SCALE for name in numbers}})
    same = {name for name in numbers if name in exact and torch.equal(floats[name], exact[name])}
    return {name: rounded[name] for name in same | {name + SCALE for name in same}}


def rounded_tensors(path: Path) -> State:
    """The tensors of a bundle, its matrices in int8. Raises BundleError."""
    _, config, weights, *_ = read_manifest(path)
    return {name: torch.from_numpy(array) for name, array in read_tensors(path / WEIGHTS, config, weights).items()}


def on_lattice(model: SpeechModel, rounded: State) -> State:
    """Of the model's matrices the nearest of the numbers that those of ``rounded`` may be, int8, and their scales.

    Raises BundleError where ``rounded`` is of another structure.
    """
    state = model.state_dict()
    found: State = {}
    for name in sorted(rounded_names(model)):
        if name not in rounded or rounded[name].shape != state[name].shape:
            msg = f"--lattice: its {name} is not one of the model's: name the bundle that the run was given"
            raise BundleError(msg)
        scale = rounded[name + SCALE]
        found |= {name: nearest(state[name], scale).to(torch.int8), name + SCALE: scale}
    return found
