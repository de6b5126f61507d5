"""In which numbers a step is computed: bfloat16 where the machine multiplies them, float32 elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from rtstream.training.core.schedule import Precision

BFLOAT16 = ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16", "arm_bf16")


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
