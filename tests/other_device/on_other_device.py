"""Run by test_other_device.py, in a process of its own: everything also runs where tensors are not on the CPU."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flatness"))

import pytest
import torch
from cases import MEASURED, make_case
from emulated_device import DEVICE, TensorElsewhere, bring_home, take_there

import flatselect
from flatselect.flatness import find_head, flatness_penalty, measure
from flatselect.flatness.layer_values import QUANTITIES
from flatselect.measures import LABEL_COMPANION_NAMES, SET_COMPANION_NAMES
from flatselect.models import build_model

STUDIES = Path(__file__).resolve().parents[2] / "studies"


def approx(value):
    return pytest.approx(value, rel=1e-8, abs=1e-12, nan_ok=True)


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_what_is_on_the_device_does_not_mix_with_what_is_not():
    here, there = torch.arange(3.0), torch.arange(3.0).to(DEVICE)
    assert there.device == DEVICE
    assert isinstance(there + there, TensorElsewhere)
    assert (there + 1).tolist() == [1.0, 2.0, 3.0]
    for mixed in (lambda: here + there, lambda: torch.stack([there, here]), lambda: here[there.long()]):
        with pytest.raises(RuntimeError, match="the CPU"):
            mixed()
    assert there[torch.tensor([2])].tolist() == [2.0]


@pytest.mark.parametrize("name", MEASURED)
def test_every_kind_of_network_is_measured_as_on_the_cpu(name):
    model, images, _ = make_case(name)
    wanted = {
        "quantities": QUANTITIES,
        "companions": [*SET_COMPANION_NAMES, *LABEL_COMPANION_NAMES],
        "per_image": True,
    }
    data = [(images, torch.arange(len(images)) % 2)]
    expected = measure(model, data, **wanted)
    everything = measure(model, images, layers="all")
    found = measure(model.to(DEVICE), data, **wanted)
    assert found.companions == approx(expected.companions)
    assert_same(found.per_image_flatness, expected.per_image_flatness)
    for own, other in zip(found.layers, expected.layers, strict=True):
        assert own.input_channel_flatness == approx(other.input_channel_flatness)
        assert own.max_eigenvalue_flatness == approx(other.max_eigenvalue_flatness)
        assert_same(own.block_traces, other.block_traces)
    of_all = measure(model, images, layers="all")
    assert [layer.relative_flatness for layer in of_all.layers] == approx(
        [layer.relative_flatness for layer in everything.layers]
    )


@pytest.mark.parametrize("name", ["conv_bn_relu", "residual_projection", "silu", "group_norm"])
def test_inputs_are_normalised_and_the_penalty_differentiated_as_on_the_cpu(name):
    model, images, _ = make_case(name)

    def compute():
        penalty = flatness_penalty(model, images.to(next(model.parameters()).device), head=find_head(model, images))
        derivatives = torch.autograd.grad(penalty, list(model.parameters()), allow_unused=True)
        normalised = measure(model, images, normalize_inputs=True).relative_gap_flatness
        return penalty.item(), normalised, [None if given is None else given.cpu() for given in derivatives]

    penalty, normalised, derivatives = compute()
    model.to(DEVICE)
    found = compute()
    assert found[:2] == approx((penalty, normalised))
    for own, expected in zip(found[2], derivatives, strict=True):
        assert (own is None) == (expected is None)
        if own is not None:
            assert_same(own, expected)


def test_networks_are_ranked_as_on_the_cpu():
    images, labels, unlabeled = torch.randn(40, 1, 12, 12), torch.arange(40) % 4, torch.randn(30, 1, 12, 12)
    models = {}
    for block in ("plain", "residual"):
        torch.manual_seed(0)
        models[block] = build_model("cnn", {"block": block, "width": 4}, (1, 12, 12), 4)

    def rank():
        ranking = flatselect.rank(models, (images, labels), unlabeled=unlabeled, n_probe_images=32)
        assert all(candidate.error is None for candidate in ranking.candidates)
        return [(candidate.path, candidate.predicted_test_score) for candidate in ranking.candidates]

    expected = rank()
    for model in models.values():
        model.to(DEVICE)
    found = rank()
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], rel=1e-4)


def test_a_search_trains_measures_and_audits_there(tmp_path, monkeypatch):
    save, load = torch.save, torch.load
    loaded_to = []

    def load_there(file, map_location, **options):
        loaded_to.append(torch.device(map_location).type)
        content = load(file, map_location="cpu", **options)
        return take_there(content) if loaded_to[-1] == DEVICE.type else content

    # PyTorch writes and reads a GPU's tensors itself, and knows none of ours.
    monkeypatch.setattr(torch, "save", lambda content, *args: save(bring_home(content), *args))
    monkeypatch.setattr(torch, "load", load_there)
    monkeypatch.setattr("flatselect.search.run._choose_inline_device", lambda config: str(DEVICE))
    changes = [
        "ray.backend=inline",
        "study.trials=7",
        "calibration.trials=4",
        "study.retrain_top=1",
        'study.minimize=["latency"]',
        "training.epochs=2",
        "training.flatness_penalty=0.001",
        "training.gradient_clip=1.0",
        'measure.extras=["augmentation", "mixup", "noise"]',
        'search_space.augmentation={type = "categorical", choices = ["shift", "flip+shift"]}',
        "data.size=300",
        f"study.storage=sqlite:///{tmp_path}/digits.db",
        f"study.checkpoints={tmp_path}/checkpoints",
    ]
    result = flatselect.run_search(flatselect.load_study_file(STUDIES / "digits.toml", changes))
    assert [trial.failure for trial in result.trials if trial.failure] == []
    assert len(result.trials) >= 7
    first = result.trials[result.ranking[0]]
    assert first.prediction is not None
    assert first.audit_test_score is not None
    assert DEVICE.type in loaded_to
