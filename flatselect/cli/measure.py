"""`flatselect measure`: the flatness of a network in a checkpoint, without Python."""

import math
import sys
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from flatselect.cli.checkpoint_description import describe_checkpoint
from flatselect.cli.checkpoint_model import (
    build_from_checkpoint,
    choose_architecture,
    find_n_classes,
    parse_model_args,
)
from flatselect.cli.measure_output import print_measurement
from flatselect.cli.measured_images import DEFAULT_N_IMAGES, MeasuredImages, load_measured_images, parse_constants
from flatselect.cli.measuring_options import device_options, find_device, image_options, network_options
from flatselect.cli.option_words import in_words_of_options
from flatselect.cli.output import print_json
from flatselect.cli.step_progress import StepProgress
from flatselect.cli.verification import Verification, verify
from flatselect.data.dataset import gather_images
from flatselect.flatness.measure import measure as measure_flatness
from flatselect.flatness.measurement import Measurement
from flatselect.models.weight_files import find_weight_file, read_weight_file
from flatselect.models.weight_fitting import find_module_name
from flatselect.search.versions import collect_versions
from flatselect.training.checkpoint import hash_file

_EPILOG = """\b
Examples:
  A model of a search, which says itself which network it is:
    flatselect measure model.pt --data digits
  Weights of a torchvision network, on images in folders, one for each class:
    flatselect measure resnet18.pth --model torchvision:resnet18 --classes 1000 \\
        --data folder:photos --image-size 224 --mean imagenet
  Weights of timm's, in safetensors; every layer in place of the last convolution:
    flatselect measure model.safetensors --model timm:resnet10t --data CIFAR10 --layer all
  The built-in family, with arguments; all images; verified by brute force; for programs:
    flatselect measure weights.pt --model cnn --model-arg width=32 --data FashionMNIST \\
        --images all --verify --json
  A network of your own: build(n_classes, in_channels) of nets.py in this folder:
    flatselect measure checkpoint.pt --model nets:build --model-arg depth=3 --data arrays:images.npz

No label is looked at. Checkpoints are read without running any code they might hold: a state_dict saved by torch.save
(alone or under state_dict, model_state_dict, model or net), .safetensors, the weights of a torch.export program (.pt2),
checkpoints and exported models of flatselect."""


@click.command("measure", epilog=_EPILOG)
@click.argument("checkpoint", type=click.Path())
@network_options
@image_options("to measure on", DEFAULT_N_IMAGES)
@click.option("--layer", metavar="NAME|all", help="Another layer, or all; default: the last convolution.")
@click.option(
    "--verify", "is_verified", is_flag=True, help="Repeat by brute force on a few images; exit 1 if it differs."
)
@click.option(
    "--verify-images",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    metavar="N",
    help="Images to verify on.",
)
@device_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, all else on standard error.")
def measure(
    checkpoint: str,
    model_name: str | None,
    model_args: tuple[str, ...],
    classes: int | None,
    data: str,
    data_root: str | None,
    download: bool,
    image_size: int | None,
    mean: str | None,
    std: str | None,
    n_images: int | str | None,
    seed: int,
    layer: str | None,
    is_verified: bool,
    verify_images: int,
    batch_size: int,
    device: str,
    as_json: bool,
) -> None:
    """Measure the relative GAP flatness of the network in CHECKPOINT on images, which need no labels."""
    constants, args, place = parse_constants(mean, std), parse_model_args(model_args), find_device(device)
    checkpoint = str(find_weight_file(checkpoint))
    file = read_weight_file(checkpoint)
    described = describe_checkpoint(file)
    architecture = choose_architecture(checkpoint, described, model_name, args)
    with in_words_of_options():
        images = load_measured_images(
            data,
            n_images=n_images,
            seed=seed,
            mean=constants[0],
            std=constants[1],
            trained_with=None if described is None else described.constants,
            root=data_root,
            download=download,
            image_size=image_size,
        )
        n_classes = classes or find_n_classes(described, architecture) or images.n_classes
        shape = images.sample.input_shape
        model = build_from_checkpoint(checkpoint, file, described, architecture, shape, n_classes)
        model.to(place)
        options = _choose_layers(model, layer)
        measurement = _measure(model, images, options, batch_size, place)
        verification = _verify(model, images, options, verify_images, place) if is_verified else None
    if as_json:
        print_json(
            {
                "checkpoint": checkpoint,
                "sha256": hash_file(Path(checkpoint)),
                "model": architecture.name,
                "model_args": dict(architecture.args),
                "data": data,
                "images": images.to_dict(),
                "n_classes": n_classes,
                "measurement": measurement.to_dict(),
                "verification": verification and verification.to_dict(),
                "versions": collect_versions(),
            }
        )
    else:
        print_measurement(f"{architecture}, {n_classes} classes", measurement, images, verification)
    if verification is not None and not verification.agrees:
        click.echo(f"{checkpoint}: the measurement does not agree with brute-force autograd", err=True)
        sys.exit(1)


def _choose_layers(model: nn.Module, layer: str | None) -> dict[str, Any]:
    """The keyword arguments of `measure` that say which layers."""
    if layer is None:
        return {}
    return {"layers": "all"} if layer == "all" else {"layer": find_module_name(model, layer)}


def _measure(
    model: nn.Module, images: MeasuredImages, options: dict[str, Any], batch_size: int, device: torch.device
) -> Measurement:
    n_batches = math.ceil(len(images.sample) / batch_size)
    with StepProgress("measuring", "batches", n_batches) as progress:
        return measure_flatness(model, progress.track(images.sample.batches(batch_size, device)), **options)


def _verify(
    model: nn.Module, images: MeasuredImages, options: dict[str, Any], n_images: int, device: torch.device
) -> Verification:
    sample = images.sample
    chosen = torch.linspace(
        0, len(sample) - 1, min(n_images, len(sample))
    ).long()  # of several classes, in a set by class
    batch, _ = gather_images(sample.subset(chosen), device)
    return verify(model, batch, options)
