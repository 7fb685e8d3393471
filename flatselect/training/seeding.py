"""Seeds for everything, derived from the study's seed so that no two uses share one."""

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2³¹) that is a function of `parts` alone, the same on every machine and Python version."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds torch, NumPy and `random` inside the block and puts their states back after it.

    Every epoch runs in a block of its own seed: a resumed epoch then draws what the undisturbed one would have drawn,
    without any generator's state in the checkpoint.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
