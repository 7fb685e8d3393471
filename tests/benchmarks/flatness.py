"""What `measure` costs beside a plain forward pass over the same images.

python tests/benchmarks/flatness.py [--model resnet18] [--size 32] [--batch 64] [--device cpu] [--threads 1]
"""

import argparse
import platform
import time
from collections.abc import Callable

import torch
import torchvision
from torch import nn

from flatselect import measure


def time_alternately(
    calls: dict[str, Callable[[], object]], device: torch.device, repeats: int
) -> dict[str, list[float]]:
    """Seconds of each call, in turn, so that a busy machine slows all alike; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in seconds.items()}


def forward_plain(model: nn.Module, images: torch.Tensor) -> None:
    with torch.no_grad():
        for batch in images:
            model(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18", help="a torchvision classification model")
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=1)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float64"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    model = torchvision.models.get_model(arguments.model, weights=None, num_classes=arguments.classes)
    model = model.to(device, dtype).eval()
    shape = (arguments.batches, arguments.batch, 3, arguments.size, arguments.size)
    images = torch.randn(shape, device=device, dtype=dtype)
    seconds = time_alternately(
        {"forward": lambda: forward_plain(model, images), "measure": lambda: measure(model, list(images))},
        device,
        arguments.repeats,
    )
    forward, measured = min(seconds["forward"]), min(seconds["measure"])
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {arguments.threads} threads, torch {torch.__version__}, {device}, {arguments.dtype}")
    print(f"{arguments.model} {arguments.size}×{arguments.size}, {arguments.batches} batches of {arguments.batch}")
    print(f"forward {forward:.4f} s, measure {measured:.4f} s, ratio {measured / forward:.3f}")


if __name__ == "__main__":
    main()
