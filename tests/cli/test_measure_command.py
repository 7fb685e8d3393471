"""`flatselect measure`: the numbers that Python gives, as people and programs get them."""

import dataclasses
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from measuring import CNN, DIGITS, MEASURE, draw, prefix, save
from torch import nn

import flatselect
from flatselect.cli import verification
from flatselect.cli.measure_output import print_measurement
from flatselect.cli.verification import LayerVerification, Verification
from flatselect.config import DataSection
from flatselect.data import load_training_set
from flatselect.models import build_model

pytestmark = pytest.mark.usefixtures("working_folder")


def test_json_is_the_contract(model, digits):
    shown = MEASURE.run_json(save(model.state_dict()), *CNN, *DIGITS, "--images", 100, "--seed", 3, "--verify")
    assert list(shown) == [
        "checkpoint", "sha256", "model", "model_args", "data", "images", "n_classes", "measurement", "verification",
        "versions",
    ]  # fmt: skip
    assert shown["sha256"] == hashlib.sha256(Path("weights.pt").read_bytes()).hexdigest()
    assert (shown["checkpoint"], shown["model"], shown["model_args"]) == ("weights.pt", "cnn", {"width": 4})
    assert (shown["data"], shown["n_classes"]) == ("digits", 10)
    assert (shown["images"]["n_images"], shown["images"]["n_in_set"], shown["images"]["seed"]) == (100, 1297, 3)
    assert (shown["images"]["mean"], shown["images"]["std"]) == (list(digits.mean), list(digits.std))
    expected = flatselect.measure(model, draw(digits, 100, 3))
    assert shown["measurement"]["relative_gap_flatness"] == pytest.approx(expected.relative_gap_flatness, rel=1e-6)
    assert shown["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert shown["verification"]["agrees"]
    assert (shown["verification"]["n_images"], shown["verification"]["dtype"]) == (2, "float64")
    (layer,) = shown["verification"]["layers"]
    assert layer["layer"] == shown["measurement"]["layer"]
    assert layer["relative_flatness"] == pytest.approx(layer["brute_force"], rel=1e-9)


def test_table_for_people(model, digits):
    done = MEASURE.run(save(model.state_dict()), *CNN, *DIGITS)
    assert done.exit_code == 0, done.output
    expected = flatselect.measure(model, draw(digits))
    words = " ".join(done.stdout.split())
    for text in (
        "cnn (width=4), 10 classes",
        f"layer {expected.layer}",
        f"{expected.relative_gap_flatness:#.4g} ± {expected.standard_error:#.2g}",
        f"Hessian trace {expected.hessian_trace:#.4g} exactness",
        "512 of 1297 of digits, 1×8×8",
        "(of the whole set)",
        f"mean {expected.companions['mean_confidence']:#.4g}",
        "The smaller, the flatter.",
    ):
        assert text in words
    assert done.stderr == ""
    assert max(map(len, MEASURE.run("weights.pt", *CNN, *DIGITS, COLUMNS="80").stdout.splitlines())) <= 80


def test_smooth_tails_are_named_gauss_newton():
    args = ["--model", "cnn", "--model-arg", "activation=silu"]
    path = save(build_model("cnn", {"activation": "silu"}, (1, 8, 8), 10).state_dict())
    shown = MEASURE.run(path, *args, *DIGITS, "--images", "32", "--verify")
    assert shown.exit_code == 0, shown.output
    assert "of the Gauss-Newton part" in shown.stdout
    assert "agrees with brute-force autograd on 2 images, in float64" in shown.stdout


def test_what_does_not_agree_is_exit_1(model, monkeypatch):
    exact = verification.reference_by_gradients

    def wrong(*arguments):
        found = exact(*arguments)
        return dataclasses.replace(found, gauss_newton_flatness=found.gauss_newton_flatness * (1 + 1e-5))

    monkeypatch.setattr(verification, "reference_by_gradients", wrong)
    done = MEASURE.run(save(model.state_dict()), *CNN, *DIGITS, "--verify", "--verify-images", "3")
    assert done.exit_code == 1
    assert "DIFFERS (by more than 1e-06) from brute-force autograd on 3 images" in done.stdout
    assert done.stderr == "weights.pt: the measurement does not agree with brute-force autograd\n"
    done = MEASURE.run("weights.pt", *CNN, *DIGITS, "--verify", "--json")
    assert (done.exit_code, json.loads(done.stdout)["verification"]["agrees"]) == (1, False)


def test_all_layers(model, digits):
    done = MEASURE.run(save(model.state_dict()), *CNN, *DIGITS, "--layer", "all", "--verify")
    assert done.exit_code == 0, done.output
    shown = MEASURE.run_json("weights.pt", *CNN, *DIGITS, "--layer", "all", "--verify")
    expected = flatselect.measure(model, draw(digits), layers="all")
    assert shown["measurement"]["relative_gap_flatness"] == pytest.approx(expected.relative_gap_flatness, rel=1e-6)
    assert len(expected.layers) > 2
    for layer in expected.layers:
        assert f"\n{layer.layer} " in "\n" + done.stdout
        assert f"{layer.relative_flatness:#.4g}" in done.stdout
    assert [layer["layer"] for layer in shown["verification"]["layers"]] == [layer.layer for layer in expected.layers]


def test_layers_are_rows(model, digits, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    single = flatselect.measure(model, draw(digits, 20))
    layers = [SimpleNamespace(layer=f"stages.{i}.[b]conv", relative_flatness=i + 0.5, standard_error=0.01 * i,
                              hessian_trace=i + 0.25, diagonal_flatness=i + 0.125, exactness="hessian")
              for i in range(3)]  # fmt: skip
    measured = SimpleNamespace(**vars(single) | {"layers": layers, "layer": "a + b + c"})
    sample = digits.subset(torch.arange(20))
    images = SimpleNamespace(sample=sample, n_in_set=1297, spec="digits", constants_from="given")
    verified = Verification(2, tuple(LayerVerification(layer.layer, 1, 1, 0, 1, 1, 0) for layer in layers))
    print_measurement("cnn", measured, images, verified)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("stages.2.[b]conv")] == [
        ["stages.2.[b]conv", "2.500", "0.02000", "2.250", "2.125", "hessian"],
        ["stages.2.[b]conv", "1", "1", "0.0e+00", "0.0e+00"],
    ]
    assert "the sum of 3" in " ".join(lines)


def test_another_layer_by_name_also_behind_repeated_channels():
    network = build_model("torchvision:resnet18", {}, (3, 32, 32), 10)
    torch.save(network.state_dict(), "resnet18.pth")
    options = ["--model", "torchvision:resnet18", *DIGITS, "--image-size", 32, "--images", 8]
    default = MEASURE.run_json("resnet18.pth", *options)["measurement"]
    named = MEASURE.run_json("resnet18.pth", *options, "--layer", "layer4.1.conv2")["measurement"]
    assert default["layer"] == named["layer"] == "network.layer4.1.conv2"
    digits = load_training_set(DataSection(train="digits", image_size=32), 0)
    expected = flatselect.measure(network, draw(digits, 8).expand(-1, 3, -1, -1))
    assert default["relative_gap_flatness"] == pytest.approx(expected.relative_gap_flatness, rel=1e-5)
    assert "--layer layer9 is not" in MEASURE.refuse("resnet18.pth", *options, "--layer", "layer9")
    # Weights that were saved with the repetition in front fit too.
    torch.save(prefix(network.state_dict(), "network."), "wrapped.pth")
    wrapped = MEASURE.run_json("wrapped.pth", *options)["measurement"]
    assert wrapped["relative_gap_flatness"] == default["relative_gap_flatness"]


def test_timm():
    pytest.importorskip("timm")
    network = build_model("timm:resnet10t", {}, (1, 32, 32), 10)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)  # timm starts the last one of a block at 0, and flatness with it
    shown = MEASURE.run_json(
        save(network.state_dict()), "--model", "timm:resnet10t", *DIGITS, "--images", 8, "--image-size", 32
    )
    assert shown["measurement"]["relative_gap_flatness"] > 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (DIGITS, "--model is missing: weights.pt holds weights alone; say which network they belong to"),
        (["--model", "resnet", *DIGITS], "unknown model 'resnet'; expected cnn"),
        (["--model", "torchvision:resnet19", *DIGITS], "did you mean resnet"),
        ([*CNN, "--model-arg", "width=5", *DIGITS], "--model-arg width=5: width is given twice"),
        ([*CNN, "--model-arg", "depth", *DIGITS], "--model-arg depth: expected KEY=VALUE"),
        (["--model", "cnn", "--model-arg", "widht=5", *DIGITS], "did you mean 'width'?"),
        ([*CNN, "--data", "digist"], "--data digist: unknown data set; did you mean digits?"),
        ([*CNN, "--data", "folder:absent"], "--data folder:absent: absent: no such folder"),
        ([*CNN, "--data", "CIFAR10", "--data-root", "."], "--download, or --data-root FOLDER if you have it"),
        ([*CNN, *DIGITS, "--images", "5000"], "--images 5000: digits has 1297 images; give at most that many, or all"),
        ([*CNN, *DIGITS, "--mean", "0.5"], "--std is missing: mean and std go together"),
        ([*CNN, *DIGITS, "--mean", "grey", "--std", "1"], "--mean grey: expected a number for each channel"),
        ([*CNN, *DIGITS, "--mean", "0.5", "--std", "0"], "--std 0.0: Input should be greater than 0"),
        ([*CNN, *DIGITS, "--mean", "imagenet"], "--mean has 3 values; expected 1: the images' channels are 1"),
        ([*CNN, *DIGITS, "--device", "gpu"], "--device gpu: not to be used here"),
        ([*CNN, *DIGITS, "--layer", "stem.cnov"], "--layer stem.cnov is not in the model; expected"),
    ],
)
def test_mistakes_get_a_message_in_words_of_the_options(options, text, model):
    message = MEASURE.refuse(save(model.state_dict()), *options)
    assert text in message
    assert "data." not in message.replace("arrays", "")
    assert "--set" not in message


@pytest.mark.parametrize("options", [["--images", "0"], ["--images", "some"], ["--batch-size", "0"]])
def test_misuse_is_exit_2(options, model):
    assert MEASURE.run(save(model.state_dict()), *CNN, *DIGITS, *options).exit_code == 2
    assert MEASURE.run("weights.pt", *CNN).exit_code == 2


def test_images_of_one_class_or_fewer_than_the_default_will_do(model, digits):
    pixels, labels = digits.pixels[:40].squeeze(1).numpy(), np.zeros(40, dtype=np.int64)
    np.savez("some.npz", images=pixels, labels=labels)
    shown = MEASURE.run_json(save(model.state_dict()), *CNN, "--data", "arrays:some.npz", "--classes", 10)
    assert (shown["images"]["n_images"], shown["measurement"]["n_images"]) == (40, 40)
    np.savez("floats.npz", images=pixels / np.float32(255), labels=labels)
    done = MEASURE.run("weights.pt", *CNN, "--data", "arrays:floats.npz", "--classes", 10, "--images", "all")
    assert "the set's floats, as they are" in done.stdout
    assert MEASURE.run_json("weights.pt", *CNN, *DIGITS, "--images", "all")["measurement"]["n_images"] == 1297


def test_model_arguments_are_toml_json_or_text():
    from flatselect.cli.checkpoint_model import parse_model_args

    texts = ["a=3", "b=0.5", "c=true", "d=relu", 'e="3"', "f=[1, 2]", "g=null", 'h={"x": 1}', "i=x=y", "j="]
    assert parse_model_args(texts) == {
        "a": 3, "b": 0.5, "c": True, "d": "relu", "e": "3", "f": [1, 2], "g": None, "h": {"x": 1}, "i": "x=y", "j": "",
    }  # fmt: skip
