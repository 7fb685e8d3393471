"""What the flatness penalty costs a training step: forward, backward and optimizer, with it and without.

python tests/benchmarks/flatness_penalty.py [--model cnn] [--size 32] [--batch 64] [--images 32] [--device cpu]
"""

import argparse
import platform
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from flatselect.config import TrainingSection
from flatselect.data.dataset import TensorDataset
from flatselect.flatness import find_head, flatness_penalty
from flatselect.models.factories import build_model
from flatselect.search_space import Candidate
from flatselect.training.fit import Trainer


def make_trainer(arguments: argparse.Namespace, model_name: str, strength: float) -> Trainer:
    """A trainer whose epoch is one batch of noise."""
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    shape = (arguments.channels, arguments.size, arguments.size)
    dataset = TensorDataset(
        torch.randint(256, (arguments.batch, *shape), dtype=torch.uint8),
        torch.arange(arguments.batch) % arguments.classes,
        tuple(str(label) for label in range(arguments.classes)),
    )
    model = build_model(model_name, {}, shape, arguments.classes)
    model = model.to(device, memory_format=torch.channels_last)
    training = TrainingSection(
        epochs=10**6,
        batch_size=arguments.batch,
        learning_rate=1e-4,
        flatness_penalty=strength,
        flatness_penalty_images=arguments.images,
    )
    head = find_head(model, next(iter(dataset.batches(2, device)))[0])
    penalty: Callable[[nn.Module, torch.Tensor], torch.Tensor] = partial(flatness_penalty, head=head)
    return Trainer(model, dataset, Candidate(model_name, {}, training, "none"), seed=0, device=device, penalty=penalty)


def time_alternately(trainers: dict[float, Trainer], device: torch.device, repeats: int) -> dict[float, list[float]]:
    """Seconds of each step, in turn, the first round not counted; on a CPU its own, whatever else runs."""
    read_clock = time.perf_counter if device.type == "cuda" else time.process_time
    seconds: dict[float, list[float]] = {strength: [] for strength in trainers}
    for _ in range(repeats + 1):
        for strength, trainer in trainers.items():
            start = read_clock()
            trainer.train_epoch()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[strength].append(read_clock() - start)
    return {strength: values[1:] for strength, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="cnn, torchvision:NAME or timm:NAME; may be given again")
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--channels", type=int, default=3, help="of the images")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--images", type=int, default=32, help="flatness_penalty_images")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {arguments.threads} threads, torch {torch.__version__}, {arguments.device}")
    for name in arguments.model or ["torchvision:resnet18", "cnn"]:
        trainers = {strength: make_trainer(arguments, name, strength) for strength in (0.0, 1e-3)}
        seconds = time_alternately(trainers, torch.device(arguments.device), arguments.repeats)
        plain, penalised = (min(values) for values in seconds.values())
        print(
            f"{name} {arguments.size}×{arguments.size}, batch {arguments.batch}, penalty on {arguments.images}: "
            f"step {plain:.4f} s, with the penalty {penalised:.4f} s, ratio {penalised / plain:.2f}"
        )


if __name__ == "__main__":
    main()
