"""What bounds the memory of a process that recognises."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
from rtstream.engine.torch_int8 import bound_kernel_cache

bound_kernel_cache()
import torch

with torch.inference_mode():
    for _ in range(2):
        for rows in range(100, 150):
            torch.nn.functional.gelu(torch.ones(rows, 256))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="elsewhere torch has kernels of its own for this")
@pytest.mark.parametrize(("given", "kept"), [(None, False), ("100", True)])
def test_code_of_a_shape_is_not_kept_until_it_comes_again_unless_the_environment_says_so(given, kept):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ONEDNN_")}
    environment["ONEDNN_VERBOSE"] = "profile_create"
    if given is not None:
        environment["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = given
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True, env=environment)
    assert "eltwise" in done.stdout
    assert ("create:cache_hit" in done.stdout) == kept
