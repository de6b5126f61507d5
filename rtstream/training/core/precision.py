"""In which numbers a step is computed: bfloat16 where the machine multiplies them, float32 elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from rtstream.training.core.schedule import Precision

BFLOAT16 = ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16", "arm_bf16")

KERNELS = 16384
"""How many shapes oneDNN keeps compiled code for in training: a service keeps few, since it runs for months."""


def keep_kernels() -> None:
    """Let oneDNN keep what it compiles; to be called before anything is computed, afterwards it has no effect.

    A step has many shapes: at the service's bound, which loading a bundle sets, one takes more than twice as long. What
    the environment says counts.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS))


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster there than float32: a processor without such instructions takes six times as long."""
    if device.type != "cpu":
        return True
    has = torch.cpu.get_capabilities()
    return any(has.get(name, False) for name in BFLOAT16)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which ``precision``, where it is bfloat16, is computed with if the machine gains from it."""
    wanted = precision == "bfloat16" and multiplies_bfloat16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
