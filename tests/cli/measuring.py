"""Running `flatselect measure` as a user would, and the checkpoints it is run on."""

import json
from pathlib import Path

import torch
from click.testing import CliRunner

from flatselect.cli.main import cli
from flatselect.data import draw_stratified
from flatselect.training.checkpoint import save_checkpoint

CNN = ["--model", "cnn", "--model-arg", "width=4"]
DIGITS = ["--data", "digits"]


def run(*arguments, **environment):
    return CliRunner(env={"COLUMNS": "120", **environment}).invoke(cli, ["measure", *map(str, arguments)])


def run_json(*arguments):
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refuse(*arguments):
    """The message of a refusal, which is no traceback."""
    done = run(*arguments)
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.stdout == ""
    return " ".join(done.stderr.split())


def draw(dataset, n=512, seed=0):
    images, _ = next(dataset.subset(draw_stratified(dataset.labels, n, seed)).batches(n, "cpu"))
    return images


def prefix(state, text):
    return {text + name: tensor for name, tensor in state.items()}


def save(content, **options):
    torch.save(content, "weights.pt", **options)
    return "weights.pt"


def save_safetensors(model):
    from safetensors.torch import save_file

    save_file(model.state_dict(), "weights.safetensors")
    return "weights.safetensors"


def export(name, args, state, *, mean=(0.5,), std=(0.5,)):
    content = {
        "kind": "flatselect model",
        "model": name,
        "model_args": args,
        "input_shape": [1, 8, 8],
        "class_names": [str(number) for number in range(10)],
        "state_dict": state,
        "provenance": {"data": {"mean": mean, "std": std}},
    }
    save_checkpoint(Path("model.pt"), content, 1)
    return "model.pt"
