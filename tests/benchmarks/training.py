"""Images a second of training, beside a plain DataLoader loop with the same network and beside the bare step.

python tests/benchmarks/training.py [--device cuda] [--images 5000] [--batch 128] [--compile]
python tests/benchmarks/training.py --share 1 2 4 8 [--device cuda]     # trials an hour, so many at once on a device

Images are noise of 3×32×32, networks ResNet-18 (torchvision's, its stem made for small images) and the built-in cnn;
augmentation is flip+shift in all. The *bare step* is forward, backward and optimizer on one batch that lies on the
device; *flatselect* is an epoch of its `Trainer`; the *DataLoader loop* is what one would write with torchvision: uint8
images, RandomCrop, RandomHorizontalFlip, ToTensor, Normalize, two worker processes, pinned memory on a GPU. Network,
memory layout and precision (bfloat16 autocast on a GPU) are the same in all three; `plain` is the loop in float32 with
torch's default layout. Rounds are in turn, and the fastest of each counts.
"""

import argparse
import contextlib
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import models, transforms

from flatselect.config import TrainingSection
from flatselect.data.dataset import TensorDataset
from flatselect.models.factories import build_model
from flatselect.search_space import Candidate
from flatselect.training.fit import Trainer
from flatselect.training.optimizers import make_optimizer

MEAN = STD = (0.5, 0.5, 0.5)
CLASSES = 10


def make_network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "cnn":
        return build_model("cnn", {"width": 32, "stages": 3, "depth": 2, "block": "residual"}, (3, 32, 32), CLASSES)
    network = models.resnet18(weights=None, num_classes=CLASSES)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return network


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


class PillowImages(TorchDataset[Any]):
    """As torchvision's sets give them: one image at a time, through a chain of transforms."""

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        self._pixels = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = labels.tolist()
        self._transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(32, padding=4, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(self._pixels[index]), self._labels[index]


def make_epochs(options: argparse.Namespace, name: str) -> dict[str, Callable[[], None]]:
    """What is timed: each call trains on so many images once."""
    device = torch.device(options.device)
    training = TrainingSection(epochs=10**6, batch_size=options.batch, learning_rate=1e-3, compile=options.compile)
    pixels = torch.randint(256, (options.images, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(options.images) % CLASSES
    dataset = TensorDataset(pixels, labels, tuple(map(str, range(CLASSES))), mean=MEAN, std=STD)
    trainer = Trainer(make_network(name), dataset, Candidate(name, {}, training, "flip+shift"), seed=0, device=device)

    def make_step(layout: torch.memory_format, precision: Any) -> Callable[[torch.Tensor, torch.Tensor], None]:
        model = make_network(name).to(device, memory_format=layout).train()
        optimizer = make_optimizer(model, training)
        forward = torch.compile(model, dynamic=False) if options.compile and layout is torch.channels_last else model

        def step(images: torch.Tensor, targets: torch.Tensor) -> None:
            with precision():
                logits = forward(images)
            loss = functional.cross_entropy(logits.float(), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        return step

    bare = make_step(torch.channels_last, lambda: autocast(device))
    resident = torch.randn(options.batch, 3, 32, 32, device=device), labels[: options.batch].to(device)

    def run_bare() -> None:
        for _ in range(options.images // options.batch):
            bare(*resident)

    def make_loop(step: Callable[[torch.Tensor, torch.Tensor], None]) -> Callable[[], None]:
        loader = DataLoader(
            PillowImages(pixels, labels),
            options.batch,
            shuffle=True,
            num_workers=options.loader_workers,
            pin_memory=device.type == "cuda",
            persistent_workers=options.loader_workers > 0,
        )

        def run_loop() -> None:
            for images, targets in loader:
                step(images.to(device, non_blocking=True), targets.to(device, non_blocking=True))

        return run_loop

    return {
        "bare step": run_bare,
        "flatselect": trainer.train_epoch,
        "DataLoader loop": make_loop(make_step(torch.channels_last, lambda: autocast(device))),
        "plain DataLoader loop": make_loop(make_step(torch.contiguous_format, contextlib.nullcontext)),
    }


def time_alternately(epochs: dict[str, Callable[[], None]], device: torch.device, repeats: int) -> dict[str, float]:
    """The fewest seconds of each, the first round not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for _ in range(repeats + 1):
        for name, epoch in epochs.items():
            started = time.perf_counter()
            epoch()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[name].append(time.perf_counter() - started)
    return {name: min(values[1:]) for name, values in seconds.items()}


def print_rates(options: argparse.Namespace) -> None:
    for name in options.model:
        seconds = time_alternately(make_epochs(options, name), torch.device(options.device), options.repeats)
        print(f"{name}, batches of {options.batch}{', compiled' if options.compile else ''}:")
        for kind, value in seconds.items():
            n = options.images // options.batch * options.batch if kind == "bare step" else options.images
            per_image = value / n
            ratio = per_image / (seconds["flatselect"] / options.images)
            print(f"  {kind:22s} {1 / per_image:10.0f} images/s   {ratio:6.2f} times flatselect's seconds", flush=True)


def print_shares(options: argparse.Namespace) -> None:
    """Trials of ten epochs an hour, with so many processes at once on the device."""
    for name in options.model:
        for n in options.share:
            command = [sys.executable, __file__, "--trial", name, "--device", options.device]
            command += ["--images", str(options.images), "--batch", str(options.batch), "--threads", "1"]
            processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(n)]
            seconds = [float(process.communicate()[0]) for process in processes]
            print(f"{name}: {n} at once, {3600 * n / max(seconds):8.1f} trials an hour", flush=True)


def run_trial(options: argparse.Namespace) -> None:
    """One trial; prints its seconds without those of starting, which long-lived workers spend once."""
    epoch = make_epochs(options, options.trial)["flatselect"]
    epoch()
    started = time.perf_counter()
    for _ in range(10):
        epoch()
    if options.device == "cuda":
        torch.cuda.synchronize()
    print(time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", nargs="*", default=["resnet18", "cnn"])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    parser.add_argument("--loader-workers", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="[training] compile, and the bare step compiled too")
    parser.add_argument("--share", type=int, nargs="*", help="trials an hour with so many at once on the device")
    parser.add_argument("--trial", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.trial:
        run_trial(options)
        return
    machine = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    print(f"{machine}, {options.threads} threads, torch {torch.__version__}")
    if options.share:
        print_shares(options)
    else:
        print_rates(options)


if __name__ == "__main__":
    main()
