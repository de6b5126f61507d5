import pytest
import torch

from rtstream.training.core.precision import BFLOAT16, autocast, multiplies_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize("instructions", [(), *((name,) for name in BFLOAT16)])
def test_bfloat16_is_used_where_the_processor_multiplies_it(monkeypatch, instructions):
    known = dict.fromkeys(BFLOAT16, False) | dict.fromkeys(instructions, True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    assert multiplies_bfloat16(CPU) is bool(instructions)
    one = torch.ones(2, 2)
    with autocast(CPU, "bfloat16"):
        assert (one @ one).dtype == (torch.bfloat16 if instructions else torch.float32)
    with autocast(CPU, "float32"):
        assert (one @ one).dtype == torch.float32


def test_this_processor_says_what_it_can():
    assert multiplies_bfloat16(CPU) in {True, False}
    assert multiplies_bfloat16(torch.device("cuda"))
