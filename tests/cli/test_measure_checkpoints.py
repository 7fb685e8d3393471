"""`flatselect measure`: checkpoints of every maker, and files that are none, or worse."""

import dataclasses
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from measuring import CNN, DIGITS, MEASURE, draw, export, prefix, save, save_safetensors
from torch import nn

import flatselect
from flatselect.models import build_model
from flatselect.training.checkpoint import save_checkpoint

pytestmark = pytest.mark.usefixtures("working_folder")

NETS = """
from torch import nn
print_at_import = open("imported", "w").close()

def build(n_classes, in_channels, width=3):
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, n_classes)
    )
"""


class Malicious:
    """Makes the file `pwned` when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


def save_program(model):
    torch.export.save(torch.export.export(model, (torch.randn(2, 1, 8, 8),)), "program.pt2")
    return "program.pt2"


def save_old_program(model):
    torch.save(model.state_dict(), "state.pt")
    with zipfile.ZipFile("old.pt2", "w") as archive:
        archive.write("state.pt", "serialized_state_dict.pt")
        archive.writestr("serialized_exported_program.json", "{}")
    return "old.pt2"


def save_training_checkpoint(path, model):
    save_checkpoint(path / "c.pt", {"model": model.state_dict(), "optimizer": {"state": {}}, "epoch": 3}, 3)
    return "c.pt"


FORMS = {
    "state_dict": lambda model, path: save(model.state_dict()),
    "before torch 1.6": lambda model, path: save(model.state_dict(), _use_new_zipfile_serialization=False),
    "state_dict nested": lambda model, path: save({"state_dict": model.state_dict(), "epoch": 3, "lr": 0.1}),
    "model_state_dict": lambda model, path: save({"model_state_dict": model.state_dict(), "optimizer": {"a": 1}}),
    "model": lambda model, path: save({"model": model.state_dict(), "best": 0.5}),
    "net": lambda model, path: save({"net": model.state_dict()}),
    "DataParallel": lambda model, path: save(nn.DataParallel(model).state_dict()),
    "compiled": lambda model, path: save(prefix(model.state_dict(), "_orig_mod.")),
    "compiled and parallel": lambda model, path: save({"model": prefix(model.state_dict(), "_orig_mod.module.")}),
    "Lightning": lambda model, path: save({"state_dict": prefix(model.state_dict(), "model.")}),
    "no counters": lambda model, path: save(
        {name: tensor for name, tensor in model.state_dict().items() if "num_batches" not in name}
    ),
    "safetensors": lambda model, path: save_safetensors(model),
    "torch.export": lambda model, path: save_program(model),
    "torch.export before 2.7": lambda model, path: save_old_program(model),
    "training checkpoint": lambda model, path: save_training_checkpoint(path, model),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.export and DataParallel, in writing
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_checkpoint_gives_the_numbers_that_python_gives(form, model, digits, working_folder):
    path = FORMS[form](model, working_folder)
    shown = MEASURE.run_json(path, *CNN, *DIGITS)
    expected = flatselect.measure(model, draw(digits), batch_size=64)
    assert shown["measurement"] == expected.to_dict()


def test_an_exported_model_says_which_network_it_is_and_how_its_images_were_normalised(model, digits):
    path = export("cnn", {"width": 4}, model.state_dict())
    shown = MEASURE.run_json(path, *DIGITS)
    assert (shown["model"], shown["model_args"], shown["n_classes"]) == ("cnn", {"width": 4}, 10)
    assert (shown["images"]["mean"], shown["images"]["std"]) == ([0.5], [0.5])
    images = draw(dataclasses.replace(digits, mean=(0.5,), std=(0.5,)))
    expected = flatselect.measure(model, images).relative_gap_flatness
    assert shown["measurement"]["relative_gap_flatness"] == pytest.approx(expected, rel=1e-6)
    assert MEASURE.run_json(path, *DIGITS, "--model", "cnn")["measurement"] == shown["measurement"]
    other = MEASURE.run_json(path, *DIGITS, "--mean", 0.3, "--std", 0.4)
    assert other["images"]["mean"] == [0.3]
    assert "of another shape: stem.conv.weight is 4×1×3×3, not 5×1×3×3" in MEASURE.refuse(
        path, *DIGITS, "--model-arg", "width=5"
    )


def test_a_file_does_not_name_the_code_that_is_run(working_folder):
    (working_folder / "measured_nets.py").write_text(NETS)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
    path = export("measured_nets:build", {"width": 3}, network.state_dict())
    for more in ([], ["--model-arg", "width=3"], ["--model-arg", "width=4"]):
        message = MEASURE.refuse(path, *DIGITS, *more)
        assert (
            "its network is built by 'measured_nets:build'; if you trust it, add --model measured_nets:build" in message
        )
        assert not (working_folder / "imported").exists()
    shown = MEASURE.run_json(path, *DIGITS, "--model", "measured_nets:build")
    assert shown["model_args"] == {"width": 3}
    assert (working_folder / "imported").exists()
    plain = MEASURE.run_json(
        save(network.state_dict()), *DIGITS, "--model", "measured_nets:build", "--mean", 0.5, "--std", 0.5
    )
    assert plain["measurement"] == shown["measurement"]


def write_malicious(kind):
    if kind == "pickle":
        Path("evil.pt").write_bytes(pickle.dumps(Malicious()))
    elif kind == "zip":
        torch.save({"state_dict": {"a": torch.zeros(1)}, "x": Malicious()}, "evil.pt")
    elif kind == "legacy":
        torch.save({"x": Malicious()}, "evil.pt", _use_new_zipfile_serialization=False)
    else:
        torch.save(Malicious(), "inner.pt")
        config = {"config": {"a": {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}}}
        with zipfile.ZipFile("evil.pt", "w") as archive:
            archive.writestr("evil/archive_format", "pt2")
            if kind == "program":
                archive.writestr("evil/data/weights/model_weights_config.json", json.dumps(config))
                archive.write("inner.pt", "evil/data/weights/weight_0")
            else:
                archive.write("inner.pt", "evil/data/weights/model.pt")


@pytest.mark.parametrize("kind", ["pickle", "zip", "legacy", "program", "old program"])
def test_code_in_a_checkpoint_is_not_run(kind, working_folder):
    write_malicious(kind)
    message = MEASURE.refuse("evil.pt", *CNN, *DIGITS)
    assert not (working_folder / "pwned").exists()
    if kind == "pickle":  # of a protocol that torch.save does not use: torch looks into it no further
        assert "a pickle that torch.save did not write, or a damaged one; pickles can run code" in message
    else:
        assert "mkdir), which can only be loaded by running code from the file, so they are not" in message
    assert "torch.save(model.state_dict(), 'weights.pt')" in message
    assert "weights_only" not in message, "torch's own message says how to run it after all"


def write_broken(kind, model):
    """Writes a file that is no checkpoint; returns its name."""
    whole = save(model.state_dict())
    if kind == "truncated":
        content = Path(whole).read_bytes()
        Path("broken.pt").write_bytes(content[: len(content) // 2])
    elif kind == "truncated safetensors":
        Path("broken.safetensors").write_bytes(Path(save_safetensors(model)).read_bytes()[:-8])
        return "broken.safetensors"
    elif kind == "damaged program":
        with zipfile.ZipFile("broken.pt", "w") as archive:
            archive.writestr("a/archive_format", "pt2")
    elif kind == "TorchScript":
        with zipfile.ZipFile("broken.pt", "w") as archive:
            archive.writestr("a/constants.pkl", "")
    elif kind == "folder":
        Path("broken.pt").mkdir()
    elif kind != "missing":
        contents = {"empty": b"", "text": b"hello world", "half a legacy file": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P"}
        Path("broken.pt").write_bytes(contents[kind])
    return "broken.pt"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missing", "broken.pt: no such file; expected weights: a state_dict saved by torch.save"),
        ("folder", "broken.pt: a folder, not a file"),
        ("empty", "broken.pt: an empty file"),
        ("text", "broken.pt: truncated or not a checkpoint; expected weights"),
        ("half a legacy file", "broken.pt: truncated or not a checkpoint; expected weights"),
        ("truncated", "broken.pt: truncated: its end is missing"),
        ("truncated safetensors", "broken.safetensors: truncated, or not a safetensors file"),
        ("damaged program", "broken.pt: a damaged torch.export program, or one of another kind (it holds the weights"),
        ("TorchScript", "broken.pt: a TorchScript program, which is code and is not run"),
    ],
)
def test_broken_files_have_messages_of_their_own(kind, text, model):
    assert text in MEASURE.refuse(write_broken(kind, model), *CNN, *DIGITS)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (nn.Sequential(nn.Linear(2, 2)), "weights.pt: a whole pickled model, which can only be loaded by running code"),
        ({"state_dict": {}}, "weights.pt: holds no tensors (its entries: nothing)"),
        ({"epoch": 3, "loss": 0.5}, "weights.pt: holds no tensors (its entries: epoch, loss)"),
        (torch.zeros(3), "weights.pt: holds a Tensor; expected weights"),
        ({"a": torch.zeros(1), "args": SimpleNamespace(a=1)}, "holds Python objects (types.SimpleNamespace)"),
        (
            {f"fc{i}.weight": torch.zeros(2) for i in range(8)},
            "unknown to the network: fc0.weight, fc1.weight, fc2.weight, fc3.weight, fc4.weight, and 3 more "
            "is it another network? check --model and --model-arg",
        ),
    ],
)
@pytest.mark.parametrize("is_zip", [True, False])
def test_contents_that_are_no_weights_of_the_network(content, text, is_zip):
    assert text in MEASURE.refuse(save(content, _use_new_zipfile_serialization=is_zip), *CNN, *DIGITS)


def test_a_program_whose_weights_reach_past_their_bytes_is_damaged(model):
    meta = {"dtype": 7, "sizes": [{"as_int": 9}], "strides": [{"as_int": 1}], "storage_offset": {"as_int": 0}}
    entry = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": meta}
    for n_bytes, text in ((8, "damaged"), (0, "a has no bytes")):
        with zipfile.ZipFile("program.pt2", "w") as archive:
            archive.writestr("a/archive_format", "pt2")
            archive.writestr("a/data/weights/model_weights_config.json", json.dumps({"config": {"a": entry}}))
            archive.writestr("a/data/weights/weight_0", b"\0" * n_bytes)
        assert text in MEASURE.refuse("program.pt2", *CNN, *DIGITS)


def test_safetensors_may_be_missing(model, monkeypatch):
    path = save_safetensors(model)
    for name in [name for name in sys.modules if name.partition(".")[0] == "safetensors"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert MEASURE.refuse(path, *CNN, *DIGITS).endswith(
        "needs safetensors, which is not installed: pip install 'flatselect[safetensors]'"
    )


def test_classes_are_those_of_the_checkpoint_where_it_says_so():
    path = save(build_model("cnn", {}, (1, 8, 8), 13).state_dict())
    message = MEASURE.refuse(path, "--model", "cnn", *DIGITS)
    assert (
        "weights.pt does not fit cnn for 10 classes: of another shape: classifier.weight is 13×32, not 10×32" in message
    )
    assert message.endswith("the checkpoint has 13 classes: add --classes 13")
    assert MEASURE.run_json(path, "--model", "cnn", *DIGITS, "--classes", 13)["n_classes"] == 13
