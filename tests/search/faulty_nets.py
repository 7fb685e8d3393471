"""Networks that fail in training as a user's own would, each as its parameter `fault` says, while a file `broken` lies
in the working folder."""

import multiprocessing
import time
from pathlib import Path

import torch
from torch import nn

BROKEN = Path("broken")
N_AUDITED = 23  # images, in one batch; no other batch is of this size


def _raise() -> None:
    raise RuntimeError("the user's own mistake")


def _run_out_of_memory() -> None:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def _kill_loader() -> None:
    """Signal 9 to a process that decodes images for this one, which is in the middle of an epoch; but once."""
    loaders = multiprocessing.active_children()
    assert loaders, "no process decodes images: is loader_workers above 0?"
    BROKEN.unlink()
    loaders[0].kill()
    time.sleep(0.5)  # in which the signal of its death arrives


def _kill_loader_again() -> None:
    try:
        _kill_loader()
    finally:
        BROKEN.touch()


def _pause() -> None:
    time.sleep(0.4)


def _hang() -> None:
    time.sleep(3600)


_FAULTS = {
    "hangs": _hang,
    "pauses": _pause,
    "raises": _raise,
    "cuda": _run_out_of_memory,
    "loader": _kill_loader,
    "loaders": _kill_loader_again,
}


class Faulty(nn.Module):
    def __init__(self, inner: nn.Module, fault: str, after: int) -> None:
        super().__init__()
        self.inner, self.fault = inner, fault
        self.n_batches_left = after

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.inner(images)
        self.n_batches_left -= self.training
        is_broken = self.n_batches_left < 0 and BROKEN.exists()
        if is_broken and self.fault == ("nan" if self.training else "nan_evaluated"):
            return logits * torch.nan
        if is_broken and self.training and self.fault in _FAULTS:
            _FAULTS[self.fault]()
        if BROKEN.exists() and self.fault == "hangs_audited" and len(images) == N_AUDITED:
            _hang()
        return logits


def small(in_channels: int, n_classes: int, width: int = 4, fault: str = "none", after: int = 0) -> nn.Module:
    """A network whose fault shows once it has been trained on `after` batches."""
    pooled = nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return Faulty(nn.Sequential(pooled, nn.Flatten(), nn.Linear(width, n_classes)), fault, after)
