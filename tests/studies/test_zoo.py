"""The zoo's own scripts, on its first environment (150 images of three digits), which takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

ZOO = Path(__file__).parents[2] / "studies" / "zoo"
sys.path.append(str(ZOO))
from environments import BASES, Environment  # noqa: E402 - a folder of scripts, not a package
from networks import draw_candidate  # noqa: E402
from table import read_table  # noqa: E402


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, str(ZOO / script), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout


@pytest.mark.end_to_end
def test_trained_measured_and_read_back(tmp_path):
    few = ("--environments", 1, "--networks", 2)
    assert run("train.py", tmp_path, *few).count("train ") == 2
    assert run("train.py", tmp_path, *few) == ""  # what is there is not trained again
    table = tmp_path / "table.csv"
    assert "2 networks" in run("measure.py", tmp_path, *few, "--output", table)
    networks = read_table(table)
    assert [network.values["network"] for network in networks] == ["000-0", "000-1"]
    stored = torch.load(tmp_path / "000-1.pt", weights_only=True)
    assert networks[1].test_score == pytest.approx(stored["test_score"], abs=1e-5)
    assert networks[1].measurement.train_score == pytest.approx(stored["train_score"], abs=1e-5)
    assert networks[1].measurement.relative_gap_flatness > 0
    assert 0 <= networks[1].measurement.companions["unlabeled_agreement"] <= 1
    row = networks[1].to_row()
    assert row.test_gap == pytest.approx(stored["train_score"] - stored["test_score"], abs=1e-5)
    assert row.group == "digits 0"
    assert row.cluster == "digits"
    lines = pd.read_csv(table)
    predictions = [json.loads((tmp_path / f"000-{n}.json").read_text())["unlabeled_predictions"] for n in (0, 1)]
    agreement = sum(a == b for a, b in zip(*predictions, strict=True)) / len(predictions[0])
    assert lines["unlabeled_agreement"].tolist() == pytest.approx([agreement, agreement], abs=1e-5)
    # What other people's packages measured, where somebody ran peers.py, joins the table.
    (tmp_path / "000-1.peers.json").write_text('{"pyhessian_trace": 12.5, "weightwatcher_alpha": 2.25}')
    run("measure.py", tmp_path, *few, "--output", table)
    assert "pyhessian_trace" not in read_table(table)[0].measurement.companions
    assert read_table(table)[1].measurement.companions["pyhessian_trace"] == 12.5


def test_environments_and_candidates_are_functions_of_their_numbers():
    assert [Environment.draw(number) for number in range(60)] == [Environment.draw(number) for number in range(60)]
    assert [Environment.draw(number).base for number in range(3)] == list(BASES)
    environment = Environment.draw(3)
    assert draw_candidate(environment, 1) == draw_candidate(environment, 1)
    assert draw_candidate(environment, 1) != draw_candidate(environment, 2)


def test_an_environment_of_photographs_in_colour_reads_their_arrays(tmp_path):
    environment = next(e for e in map(Environment.draw, range(120, 150)) if e.image_size == 16 and e.n_images == 500)
    assert environment.base == "CIFAR10"
    generator = np.random.default_rng(0)
    for part, n_images in (("train", 1000), ("test", 100)):  # stands for CIFAR-10, which is too large to come along
        pixels = generator.integers(0, 256, (n_images, 32, 32, 3), dtype=np.uint8)
        np.savez(tmp_path / f"{part}.npz", images=pixels, labels=np.arange(n_images) % 10)
    train, test = environment.load({"CIFAR10": str(tmp_path)})
    assert train.input_shape == test.input_shape == (3, 16, 16)
    assert len(train) == 500
    assert len(test) == 10 * environment.n_classes
    assert len(train.mean) == 3
    with pytest.raises(SystemExit, match="--cifar10 FOLDER"):
        Environment.draw(120).load({})


def test_digits_are_split_into_training_and_test_images_without_overlap():
    environment = next(e for e in map(Environment.draw, range(0, 60, 3)) if e.n_classes == 10 and not e.pixel_noise)
    train, test = environment.load({})
    assert len(train) == environment.n_images
    assert len(train) + len(test) == 1797
    seen = {tuple(image.flatten().tolist()) for image in train.pixels}
    # Some of scikit-learn's digits are alike: hardly any are the same.
    assert sum(tuple(image.flatten().tolist()) in seen for image in test.pixels) < 5


def test_label_noise_replaces_the_stated_share_of_training_labels_and_no_test_label():
    noisy = next(e for e in map(Environment.draw, range(0, 60, 3)) if e.label_noise and e.n_images >= 300)
    clean = type(noisy)(**(noisy.to_dict() | {"label_noise": 0.0}))
    (train, test), (clean_train, clean_test) = noisy.load({}), clean.load({})
    assert torch.equal(test.labels, clean_test.labels)
    share = (train.labels != clean_train.labels).double().mean().item()
    assert share == pytest.approx(noisy.label_noise, abs=0.05)
    assert torch.equal(train.pixels, clean_train.pixels)
