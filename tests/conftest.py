"""What all tests share."""

import os
import signal
import sys

import pytest

# pytest-xdist already runs a test on each core: torch's own threads would only get in each other's way. Must stand
# before the first import of torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts its background jobs with SIGINT ignored, and what is ignored stays so in the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from hypothesis import settings

# The same examples on every run and no time limit: a test fails because of the code, never because of luck or load.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


@pytest.fixture(scope="session", autouse=True)
def time_to_answer():
    """A machine that runs all tests at once may take long to answer; that it does is no fault."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("rtstream.client.calls", "rtstream.client.synchronous"):
            if name in sys.modules:
                patch.setattr(sys.modules[name], "ANSWER_SECONDS", 120.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def _packed_weights(tmp_path_factory):
    """What ONNX Runtime packs of tiny models does not belong into the user's cache."""
    os.environ["CACHE_DIRECTORY"] = str(tmp_path_factory.mktemp("cache"))
