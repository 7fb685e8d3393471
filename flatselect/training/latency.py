"""How long a network takes for an image."""

import statistics
import time

import torch
from torch import Tensor, nn

_N_WARM_UP = 3
_N_TIMED = 20


def measure_latency(model: nn.Module, images: Tensor) -> float:
    """The median time of a forward pass over `images`, in milliseconds an image.

    In evaluation mode and without gradients, after a few passes that are not counted; the model is left in the mode it
    was in. It is a time: it differs from machine to machine, and a little from call to call.

    Args:
        model: On the images' device.
        images: (n, channels, height, width), as many as the network will get at a time.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            seconds = [_time_pass(model, images) for _ in range(_N_WARM_UP + _N_TIMED)]
    finally:
        model.train(was_training)
    return 1000 * statistics.median(seconds[_N_WARM_UP:]) / len(images)


def _time_pass(model: nn.Module, images: Tensor) -> float:
    _wait_for(images.device)
    started = time.perf_counter()
    model(images)
    _wait_for(images.device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    """Work on a GPU is only begun when a call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
