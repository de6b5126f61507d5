"""What all tests share."""

import os

# pytest-xdist already runs a test on each core: torch's own threads would only get in each other's way. Must stand
# before the first import of torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# The same examples on every run and no time limit: a test fails because of the code, never because of luck or load.
settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")
