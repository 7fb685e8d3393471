"""The options of the commands that measure checkpoints on images: which network, which images, where."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
import torch

from flatselect.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])


def network_options(command: Command) -> Command:
    """Gives a command `--model`, `--model-arg` and `--classes` as `model_name`, `model_args` and `classes`."""
    return _apply(
        command,
        click.option(
            "--model",
            "model_name",
            metavar="SPEC",
            help="cnn, torchvision:NAME, timm:NAME or module:function; checkpoints of flatselect say it.",
        ),
        click.option("--model-arg", "model_args", multiple=True, metavar="KEY=VALUE", help="Of the model; repeatable."),
        click.option(
            "--classes", type=click.IntRange(min=1), metavar="N", help="Outputs; default: classes of the data."
        ),
    )


def image_options(purpose: str, default: int) -> Callable[[Command], Command]:
    """Gives a command the options of its images, from `--data` to `--seed`.

    Args:
        purpose: What the images of `--images` are for, `to measure on`.
        default: How many that are.
    """

    def decorate(command: Command) -> Command:
        return _apply(
            command,
            click.option(
                "--data",
                required=True,
                metavar="SPEC",
                help="digits, a torchvision set, folder:PATH or arrays:FILE.npz.",
            ),
            click.option("--data-root", metavar="PATH", help="Folder of torchvision's sets."),
            click.option("--download", is_flag=True, help="Fetch a torchvision set that is not there."),
            click.option(
                "--image-size",
                type=click.IntRange(min=1, max=8192),
                metavar="N",
                help="Resize images to this height and width.",
            ),
            click.option("--mean", metavar="A,B,C", help="By channel, on [0, 1], or imagenet; default: of the images."),
            click.option("--std", metavar="A,B,C", help="Goes with --mean."),
            click.option(
                "--images",
                "n_images",
                callback=_read_image_count,
                metavar="N|all",
                help=f"Images {purpose}, drawn by class.  [default: {default}, or all if fewer]",
            ),
            click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of that draw."),
        )

    return decorate


def device_options(command: Command) -> Command:
    """Gives a command `--batch-size` and `--device`."""
    return _apply(
        command,
        click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True, metavar="N"),
        click.option("--device", default="cpu", show_default=True, help="Where to measure: cpu, cuda, cuda:1, mps."),
    )


def find_device(name: str) -> torch.device:
    """The device that `--device` names; raises ConfigError where there is none."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"--device {name}: not to be used here ({reason}); expected cpu, cuda, cuda:N or mps"
        ) from None


def _read_image_count(ctx: click.Context, parameter: click.Parameter, value: Any) -> int | str | None:
    return value if value is None or value == "all" else click.IntRange(min=1).convert(value, parameter, ctx)


def _apply(command: Command, *options: Callable[[Command], Command]) -> Command:
    """The command with the options, shown in this order: a decorator puts its own before what is there."""
    for option in reversed(options):
        command = option(command)
    return command
