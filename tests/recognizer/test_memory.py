"""What bounds the memory of a process that recognises."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
from rtstream.recognizer.memory import bound_kernel_cache

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


needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")

THREADS = """
import ctypes, threading
from rtstream.recognizer.memory import keep_heap_small
keep_heap_small()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
places = []
for _ in range(4):
    thread = threading.Thread(target=lambda: places.append(libc.malloc(1000)))
    thread.start()
    thread.join()
heap = next(line for line in open("/proc/self/maps") if "[heap]" in line)
start, end = (int(each, 16) for each in heap.split()[0].split("-"))
print([start <= place < end for place in places])
"""


@needs_glibc
def test_threads_have_no_heaps_of_their_own():
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([True] * 4)


def test_the_service_imports_nothing_that_draws_on_terminals():
    program = (
        "import os, sys, rtstream.daemon.leaving as leaving; from rtstream.cli.main import main;"
        "leaving.leave = lambda code: print(code, 'structlog' in sys.modules, 'rich' in sys.modules);"
        "main(['serve', '--config', os.devnull, '--source', 'nothing']); import rich"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["78", "True", "False"]


def test_what_only_translation_needs_is_not_loaded_to_recognise():
    program = "import sys, rtstream.daemon.models, rtstream.engine.ort.open; print('sentencepiece' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
