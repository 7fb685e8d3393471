"""Running `flatselect measure`, and the checkpoints it is run on."""

from pathlib import Path

import torch
from running import Command

from flatselect.data import draw_stratified
from flatselect.training.checkpoint import save_checkpoint

MEASURE = Command(("measure",), n_columns=120)
CNN = ["--model", "cnn", "--model-arg", "width=4"]
DIGITS = ["--data", "digits"]


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


def export(name, args, state, *, mean=(0.5,), std=(0.5,), class_names="0123456789", origin=None, **data):
    """What `flatselect export` writes; `origin` is the name of a study and the number of a trial."""
    study, trial = origin or (None, None)
    of_trial = {"study": {"study": {"name": study}}, "trial": {"number": trial}} if origin else {}
    content = {
        "kind": "flatselect model",
        "model": name,
        "model_args": args,
        "input_shape": [1, 8, 8],
        "class_names": list(class_names),
        "state_dict": state,
        "provenance": {"data": {"mean": mean, "std": std, **data}, **of_trial},
    }
    save_checkpoint(Path("model.pt"), content, 1)
    return "model.pt"
