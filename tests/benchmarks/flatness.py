"""What `measure` costs beside a plain forward pass over the same images, in time and in peak memory.

python tests/benchmarks/flatness.py [--model resnet18] [--size 32] [--batch 64] [--batches 64] [--threads 1] [--memory]
python tests/benchmarks/flatness.py --suite [--repeats 3]     # four networks in one table, memory included
python tests/benchmarks/flatness.py --layers                  # every layer exactly, beside the backward passes it needs
python tests/benchmarks/flatness.py --peers --batch 32        # other packages too, on the same layer and images

`flatness_peers.py` beside it says which packages these are, and compares on other terms. Weights are random, with
batch-norm statistics of noise images, which keep the activations of an untrained network from fading. What a call pays
once, however many images it measures, has a row of its own: finding the head. The layer's Gram, paid once too, is in
the rows of `measure`. Ratios are to the forward pass over the images as they are, as most would write it; that over
images with their channels last, in which order `measure` runs them on a CPU, has a row beside it.
"""

import argparse
import ctypes
import gc
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch
import torchvision
from torch import Tensor, nn

from flatselect import measure
from flatselect.flatness import find_head

# Networks, the images' size, and batches of them: about as long a forward pass over each.
SUITE = (("resnet18", 32, 64), ("resnet18", 224, 2), ("mobilenet_v2", 224, 2), ("densenet121", 224, 1))


@dataclass(frozen=True)
class Setting:
    """What is run: a network, its images, and where."""

    model: str
    size: int
    batch: int
    batches: int
    classes: int
    device: str
    dtype: str
    threads: int

    def __str__(self) -> str:
        return f"{self.model} {self.size}×{self.size}, {self.batches} × {self.batch} images, {self.classes} classes"

    def make(self) -> tuple[nn.Module, Tensor]:
        """The network in evaluation mode, and images (batches, batch, 3, size, size)."""
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        dtype = getattr(torch, self.dtype)
        model = torchvision.models.get_model(self.model, weights=None, num_classes=self.classes).to(self.device)
        calibrate_batch_norms(model, self.size, torch.device(self.device))
        images = torch.randn((self.batches, self.batch, 3, self.size, self.size), device=self.device, dtype=dtype)
        return model.to(dtype).eval(), images


def calibrate_batch_norms(model: nn.Module, size: int, device: torch.device) -> None:
    """Sets running statistics to the mean over three batches of noise images."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn((16, 3, size, size), device=device))
    model.eval()


def forward_plain(model: nn.Module, images: Iterable[Tensor]) -> None:
    with torch.no_grad():
        for batch in images:
            model(batch)


def make_calls(model: nn.Module, images: Tensor) -> dict[str, Callable[[], object]]:
    """The forward pass, that of channels last, `measure`, `measure` of a head that was found before, and finding it."""
    head = find_head(model, images[0])
    return {
        "forward": lambda: forward_plain(model, images),
        "forward, channels last": lambda: forward_plain(
            model, (batch.contiguous(memory_format=torch.channels_last) for batch in images)
        ),
        "measure": lambda: measure(model, list(images)),
        "measure, head known": lambda: measure(model, list(images), head=head),
        "find_head, once": lambda: find_head(model, images[0]),
    }


def time_alternately(
    calls: dict[str, Callable[[], object]], device: torch.device, repeats: int, uncounted: int = 1
) -> dict[str, list[float]]:
    """Seconds of each call, in turn, so that a busy machine slows all alike; the first rounds are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(uncounted + repeats):
        for name, call in calls.items():
            synchronise(device)
            start = time.perf_counter()
            call()
            synchronise(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: values[uncounted:] for name, values in seconds.items()}


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_peak_memory(setting: Setting, name: str, *, with_holes: bool = False) -> float:
    """MiB by which one call raises the memory held, at its highest, above model and images; nan where unknown.

    On a CPU each call has a process of its own, as memory that an earlier one freed would hide what the next one takes.

    Args:
        setting: What is run.
        name: Of the call.
        with_holes: On a CPU: what the process is given, the holes of its heap included, which differ from process to
            process (the median of five). Else large arrays are given back as soon as they are freed, so that what is
            asked for counts, as `torch.cuda.max_memory_allocated` counts it.
    """
    if setting.device.startswith("cuda"):
        return _measure_peak_here(setting, name)
    limits = {} if with_holes else dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(2**17))
    peaks: list[float] = []
    with patch.dict(os.environ, limits):
        for _ in range(5 if with_holes else 1):
            # Spawned: a forked process would begin with this one's memory.
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                peaks.append(pool.submit(_measure_peak_here, setting, name).result())
    return median(peaks)


def _measure_peak_here(setting: Setting, name: str) -> float:
    model, images = setting.make()
    make_calls(model, images[:1, :2])[name]()  # so that libraries are loaded and their plans made
    call = make_calls(model, images)[name]
    gc.collect()
    if images.is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(images.device)
        held = torch.cuda.memory_allocated(images.device)
        call()
        return (torch.cuda.max_memory_allocated(images.device) - held) / 2**20
    if sys.platform != "linux":
        return float("nan")
    ctypes.CDLL(None).malloc_trim(0)  # memory freed but kept would be used again unseen
    # Not getrusage's ru_maxrss: it never falls, so that loading the model or, after exec, the process that started this
    # one sets it; writing 5 here lets the kernel's high-water mark begin anew.
    Path("/proc/self/clear_refs").write_text("5")
    held = _read_memory("VmRSS")
    call()
    return (_read_memory("VmHWM") - held) / 2**10


def _read_memory(key: str) -> int:
    """A line of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{key}:")))


def compare(setting: Setting, repeats: int, with_memory: bool) -> list[list[str]]:
    """Rows of a table: each call's seconds and memory, and their ratios to the forward pass."""
    model, images = setting.make()
    calls = make_calls(model, images)
    seconds = time_alternately(calls, images.device, repeats)
    del model, images
    of_memory: dict[str, list[str]] = {name: [] for name in calls}
    for with_holes in (False, True) if with_memory else ():
        peaks = {name: measure_peak_memory(setting, name, with_holes=with_holes) for name in calls}
        for name, peak in peaks.items():
            of_memory[name] += [f"{peak:.1f}", f"{peak / peaks['forward']:.3f}"]
    return [
        [
            f"{setting.model} {setting.size}, {setting.batches} × {setting.batch}",
            name,
            f"{min(seconds[name]):.4f}",
            f"{median(seconds[name]):.4f}",
            f"{min(seconds[name]) / min(seconds['forward']):.3f}",
            f"{median(seconds[name]) / median(seconds['forward']):.3f}",
            *of_memory[name],
        ]
        for name in calls
    ]


def compare_layers(setting: Setting, repeats: int) -> list[list[str]]:
    """Rows of a table: every layer's flatness beside one forward and C backward passes in all weights."""
    model, images = setting.make()
    weights = list(model.parameters())

    def forward_with_graph() -> list[Tensor]:
        return [model(batch)[:, 0].sum() for batch in images]

    sums = forward_with_graph()  # their graphs stay, so that the backward pass is timed alone
    calls: dict[str, Callable[[], object]] = {
        "forward with its graph": forward_with_graph,
        "one backward": lambda: [torch.autograd.grad(total, weights, retain_graph=True) for total in sums],
        "measure, last layer": lambda: measure(model, list(images)),
        "measure, all layers": lambda: measure(model, list(images), layers="all"),
    }
    seconds = {name: min(values) for name, values in time_alternately(calls, images.device, repeats).items()}
    backward = setting.classes * seconds["one backward"]
    seconds[f"{setting.classes} backward passes"] = backward
    return [[name, f"{value:.4f}", f"{value / backward:.3f}"] for name, value in seconds.items()]


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Columns padded to their widest entry, names to the left; a row may end early."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines if i < len(line)) for i in range(len(header))]
    for line in lines:
        cells = [
            entry.ljust(width) if title in ("network, images", "call", "method") else entry.rjust(width)
            for entry, width, title in zip(line, widths, header, strict=False)
        ]
        print("  ".join(cells).rstrip(), flush=True)


def add_setting_options(parser: argparse.ArgumentParser, size: int) -> None:
    parser.add_argument("--model", default="resnet18", help="a torchvision classification model")
    parser.add_argument("--size", type=int, default=size, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float64"])
    parser.add_argument("--threads", type=int, default=1)


def describe_machine(setting: Setting) -> str:
    name = platform.processor() or platform.machine()
    if setting.device.startswith("cuda"):
        name = torch.cuda.get_device_name(setting.device)
    elif Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), name)
    return f"{name}, {setting.threads} threads, torch {torch.__version__}, {setting.device}, {setting.dtype}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_setting_options(parser, size=32)
    parser.add_argument("--batches", type=int, help="default: 64; with --layers or --peers 1")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--memory", action="store_true", help="peak memory too")
    parser.add_argument("--suite", action="store_true", help="several networks instead of --model and --size")
    parser.add_argument("--layers", action="store_true", help="every layer exactly, beside the backward passes")
    parser.add_argument("--peers", action="store_true", help="other packages too, as far as they are installed")
    options = vars(parser.parse_args())
    repeats, with_memory, is_suite, with_layers, with_peers = (
        options.pop(name) for name in ("repeats", "memory", "suite", "layers", "peers")
    )
    options["batches"] = options["batches"] or (1 if with_layers or with_peers else 64)
    setting = Setting(**options)
    print(describe_machine(setting))
    print(f"{repeats} repeats")
    if with_layers:
        print(setting)
        print_table(["call", "seconds", f"ratio to {setting.classes} backward"], compare_layers(setting, repeats))
        return
    settings = [setting]
    if is_suite:
        settings = [replace(setting, model=model, size=size, batches=batches) for model, size, batches in SUITE]
    header = ["network, images", "call", "min s", "median s", "ratio", "of medians"]
    header += ["peak MiB", "ratio", "with holes", "ratio"]
    for one in settings:  # each with a table of its own, so that what was measured is seen though the rest is stopped
        print(f"running {one}", file=sys.stderr, flush=True)
        print_table(header, compare(one, repeats, with_memory or is_suite))
        if with_peers:
            from flatness_peers import compare_with_peers  # which imports from here

            compare_with_peers(one, one.batch * one.batches)


if __name__ == "__main__":
    main()
