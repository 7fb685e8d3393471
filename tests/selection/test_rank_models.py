"""`flatselect.rank`: networks in memory."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import TensorDataset as TorchDataset

import flatselect
from flatselect.calibration.features import FEATURE_NAMES
from flatselect.calibration.gap_predictor import CalibrationRow
from flatselect.data.digits import load_digits
from flatselect.data.normalization import compute_mean_std
from flatselect.errors import CalibrationError, DataError, ModelError
from flatselect.models.factories import build_model
from flatselect.selection import measuring
from flatselect.selection import models as ranked_models
from flatselect.selection.agreement import make_agreement_companions
from flatselect.training.evaluation import evaluate


@pytest.fixture(scope="module")
def digits():
    images = load_digits("train")
    mean, std = compute_mean_std([images.pixels])
    return dataclasses.replace(images, mean=mean, std=std).subset(torch.arange(300))


@pytest.fixture(scope="module")
def models(digits):
    networks = {}
    for number, width in enumerate((4, 6, 8)):
        torch.manual_seed(number)
        networks[f"width {width}"] = build_model("cnn", {"width": width}, (1, 8, 8), 10).eval()
    return networks


@pytest.fixture(scope="module")
def predictor():
    generator = torch.Generator().manual_seed(0)
    rows = []
    for group in range(12):
        values = torch.rand(len(FEATURE_NAMES), generator=generator).tolist()
        features = dict(zip(FEATURE_NAMES, values, strict=True))
        rows.append(CalibrationRow(str(group), 1, features, 0.1 * features["log_relative_gap_flatness"]))
    return flatselect.GapPredictor.fit(rows)


def test_ranks_by_predicted_test_score(models, digits, predictor):
    ranking = flatselect.rank(models, digits, calibrator=predictor)
    scores = [candidate.predicted_test_score for candidate in ranking.candidates]
    assert scores == sorted(scores, reverse=True)
    assert {candidate.path for candidate in ranking.candidates} == set(models)
    assert sum(candidate.probability_best for candidate in ranking.candidates) == pytest.approx(1)
    shown = ranking.to_json()
    # No unlabelled images were given: the calibrator is fitted anew without what they would say.
    adapted = predictor.using([name for name in FEATURE_NAMES if "unlabeled" not in name])
    assert list(shown) == ["calibrator", "checkpoints"]
    assert (shown["calibrator"]["source"], shown["calibrator"]["n_groups"]) == ("given", 12)
    assert len(shown["calibrator"]["fingerprint"]) == 64
    for candidate in ranking.candidates:
        expected = evaluate(models[candidate.path], digits, 100, "cpu").score
        assert candidate.train_score == pytest.approx(expected)
        alone = dataclasses.astuple(adapted.predict(candidate.measurement))
        for value, expected in zip(dataclasses.astuple(candidate.prediction), alone, strict=True):
            assert value == pytest.approx(expected, rel=1e-12), "to the rounding of a product of more rows"
        measured = candidate.measurement
        assert {"augmentation_accuracy", "mixup_loss", "noise_agreement", "head_soft_rank", "head_tic"} < set(
            measured.companions
        )
        assert (measured.n_train_images, measured.n_probe_images) == (300, 300)


def test_the_kernel_on_pixels_is_computed_once_and_only_where_it_is_read(models, digits, predictor, monkeypatch):
    sets = []

    def measure_training_pixels(train_set, seed):
        sets.append(train_set)
        return measuring.measure_training_pixels(train_set, seed)

    monkeypatch.setattr(ranked_models, "measure_training_pixels", measure_training_pixels)
    ranking = flatselect.rank(models, digits, calibrator=predictor)
    assert len(sets) == 1
    expected = measuring.measure_training_pixels(digits, 0)
    assert expected["pixel_kernel_accuracy"] > 0.8
    assert all(expected.items() <= candidate.measurement.companions.items() for candidate in ranking.candidates)
    without = predictor.using([name for name in FEATURE_NAMES if "pixel_kernel" not in name])
    for calibrator in (without, "none"):
        ranking = flatselect.rank(models, digits, calibrator=calibrator)
        assert not any("pixel_kernel_accuracy" in candidate.measurement.companions for candidate in ranking.candidates)
    (broken,) = flatselect.rank({"no logits": nn.Identity()}, digits, calibrator=predictor).candidates
    assert broken.error is not None
    assert len(sets) == 1


def test_data_may_be_tensors_batches_or_a_dataset(models, digits):
    images, labels = digits.images("cpu"), digits.labels
    expected = flatselect.rank(models, digits, calibrator="none").to_json()
    assert expected["calibrator"] is None
    for data in ((images, labels), [(images[:200], labels[:200]), (images[200:], labels[200:])],
                 DataLoader(TorchDataset(images, labels), batch_size=64), TorchDataset(images, labels)):  # fmt: skip
        assert flatselect.rank(models, data, calibrator="none").to_json() == expected
    named = flatselect.rank(list(models.items()), (images, labels), calibrator="none")
    assert named.to_json() == expected
    unnamed = flatselect.rank(list(models.values()), (images, labels), calibrator="none")
    names = dict(zip(models, "012", strict=True))
    assert [c.path for c in unnamed.candidates] == [names[c["path"]] for c in expected["checkpoints"]]


def test_models_are_left_as_they_were_and_frozen_ones_count_their_parameters(models, digits):
    model = models["width 4"]
    before = copy.deepcopy(model.state_dict())
    model.requires_grad_(False)
    model[0].train() if isinstance(model, nn.Sequential) else next(model.children()).train()
    modes = {name: module.training for name, module in model.named_modules()}
    (ranked,) = flatselect.rank({"frozen": model}, digits, calibrator="none").candidates
    assert ranked.measurement.n_parameters == sum(parameter.numel() for parameter in model.parameters())
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert not any(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    model.eval().requires_grad_(True)


def test_a_network_that_cannot_be_measured_is_listed_and_the_others_are_ranked(models, digits):
    class Raises(nn.Module):
        def forward(self, images):
            raise KeyError("no such thing")

    broken = copy.deepcopy(models["width 4"])
    next(broken.parameters()).data.fill_(float("nan"))
    narrow = build_model("cnn", {"width": 4}, (1, 8, 8), 7)
    given = {"raises": Raises(), "nan": broken, "narrow": narrow, **models, "double": copy.deepcopy(broken).double()}
    ranking = flatselect.rank(given, digits, calibrator="none")
    assert {c.path for c in ranking.ranked} == set(models)
    errors = {c.path: c.error for c in ranking.broken}
    assert errors["raises"] == "KeyError: 'no such thing'"
    assert "nan" in errors["nan"].lower()
    assert "7 outputs, but labels of the training images go up to 9" in errors["narrow"]
    assert [c.path for c in ranking.broken] == ["raises", "nan", "narrow", "double"]


def test_networks_of_another_end_are_measured_at_their_last_convolution(models, digits, monkeypatch):
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 10))
    ranking = flatselect.rank({"two linear": network, **models}, digits, calibrator="none")
    (found,) = [c for c in ranking.ranked if c.path == "two linear"]
    assert found.measurement.layer == "2"
    expected = flatselect.measure(network, digits.images("cpu"), layer="2")
    assert found.relative_gap_flatness == pytest.approx(expected.relative_gap_flatness, rel=1e-5)
    monkeypatch.setattr(measuring, "_MOST_CLASSES_BY_NAME", 9)
    ranking = flatselect.rank({"two linear": network, **models}, digits, calibrator="none")
    assert [(c.path, "layer='2' measures it" in c.error) for c in ranking.broken] == [("two linear", True)]


def test_networks_of_another_type_are_measured_as_float32_copies(models, digits):
    double = copy.deepcopy(models["width 8"]).double()
    rankings = (flatselect.rank([network], digits, calibrator="none") for network in (models["width 8"], double))
    one, other = (ranking.candidates[0].to_json() for ranking in rankings)
    assert one == other
    assert next(double.parameters()).dtype == torch.float64


def test_unlabelled_images_add_what_the_networks_say_of_them(models, digits):
    images = digits.images("cpu")
    surer = copy.deepcopy(models["width 4"])  # of the same classes
    for parameter in surer.classifier.parameters():
        parameter.data *= 2
    same = {"a": models["width 4"], "b": surer, "c": models["width 8"]}
    ranking = flatselect.rank(same, digits, calibrator="none", unlabeled=images[:100])
    companions = {c.path: c.measurement.companions for c in ranking.candidates}
    with torch.no_grad():
        kept = (same["a"](images[:100]).argmax(1) == same["c"](images[:100]).argmax(1)).double().mean().item()
    assert companions["a"]["unlabeled_agreement"] == pytest.approx((1 + kept) / 2)
    assert companions["c"]["unlabeled_agreement"] == pytest.approx(kept)
    leads = [values["unlabeled_agreement_lead"] for values in companions.values()]
    assert sum(leads) == pytest.approx(0, abs=1e-12)
    assert leads[0] - leads[2] == pytest.approx((1 + kept) / 2 - kept)
    assert "unlabeled_confidence" in companions["a"]
    (alone,) = flatselect.rank({"a": same["a"]}, digits, calibrator="none", unlabeled=[images[:50]]).candidates
    assert "unlabeled_agreement" not in alone.measurement.companions
    assert "unlabeled_weighted_agreement" not in alone.measurement.companions


@pytest.mark.parametrize("calibrator", ["none", "shipped"])
def test_a_copy_changes_nothing_for_the_others_and_is_named(models, digits, calibrator):
    """It would agree with itself on unlabelled images, and halve the chance of the best to be the best."""
    unlabeled = digits.images("cpu")[:100]
    names = list(models)
    alone = flatselect.rank(models, digits, calibrator=calibrator, unlabeled=unlabeled)
    last = alone.candidates[-1].path
    copied = models | {"copy": copy.deepcopy(models[last])}
    beside = flatselect.rank(copied, digits, calibrator=calibrator, unlabeled=unlabeled)
    assert len(beside.ranked) == len(names)
    assert [c.to_json() for c in beside.ranked] == [c.to_json() for c in alone.ranked]
    (left_out,) = beside.broken
    assert (left_out.path, left_out.error) == ("copy", f"the same network as {last}, which is ranked")
    # Of a copy that comes first, it is the other that is left out.
    turned = flatselect.rank({"copy": models[last], **models}, digits, calibrator=calibrator, unlabeled=unlabeled)
    assert [c.path for c in turned.broken] == [last]


def test_agreement_is_the_mean_over_the_other_networks_by_how_well_they_fit():
    classes = torch.randint(0, 3, (5, 40), generator=torch.Generator().manual_seed(0)).numpy()
    shares = (classes[:, None] == classes).mean(2)
    scores = np.array([0.02, 0.4, 0.7, 0.95, 1.0])
    companions = make_agreement_companions(classes, scores.tolist())
    for i, own in enumerate(companions):
        others = [j for j in range(5) if j != i]
        weights = np.maximum(scores[others], 0.1) ** 8  # one that knows nothing counts as one that knows a tenth
        assert own["unlabeled_agreement"] == pytest.approx(shares[i, others].mean())
        expected = float(np.average(shares[i, others], weights=weights))
        assert own["unlabeled_weighted_agreement"] == pytest.approx(expected, rel=1e-6)
    mean = np.mean([own["unlabeled_agreement"] for own in companions])
    for own in companions:
        assert own["unlabeled_agreement_lead"] == pytest.approx(own["unlabeled_agreement"] - mean)


def test_the_crowd_of_hardly_trained_networks_is_outvoted():
    """Three networks share a simple mistake; the two that fit their training images do not."""
    classes = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 1, 2, 3, 0], [0, 1, 2, 3, 1]])
    companions = make_agreement_companions(classes, [0.4, 0.4, 0.4, 0.99, 0.98])
    plain, weighted = (
        [own[name] for own in companions] for name in ("unlabeled_agreement", "unlabeled_weighted_agreement")
    )
    assert max(plain) == plain[0]
    assert min(weighted[3:]) > max(weighted[:3])


def test_networks_that_know_nothing_agree_as_any_do():
    classes = np.array([[0, 1], [0, 1], [1, 1]])
    companions = make_agreement_companions(classes, [0.0, 0.0, 0.0])
    assert [own["unlabeled_weighted_agreement"] for own in companions] == pytest.approx([0.75, 0.75, 0.5])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (torch.zeros(3, 1, 8, 8), "a tensor of shape (3, 1, 8, 8); expected labelled images"),
        (7, "the data is int"),
        ([], "holds no images"),
        ([torch.zeros(3, 1, 8, 8)], "expected labelled images"),
        ((torch.zeros(3, 1, 8, 8), torch.zeros(3)), "expected one integer for each image"),
        ((torch.zeros(3, 1, 8, 8), torch.zeros(4).long()), "for 3 images"),
        ((torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, -1])), "go down to -1"),
        ((torch.zeros(3, 8, 8), torch.zeros(3).long()), "expected at least one, (n_images, channels"),
        ((torch.zeros(3, 1, 8, 8).byte(), torch.zeros(3).long()), "floats, normalised"),
        (
            (torch.eye(8).log().expand(3, 1, 8, 8), torch.zeros(3).long()),
            "3 images hold NaN or infinity, first image 0",
        ),
    ],
)
def test_data_that_is_none(models, data, text):
    with pytest.raises(DataError) as raised:
        flatselect.rank(models, data, calibrator="none")
    assert text in str(raised.value)


def test_unlabelled_images_in_two_batches_are_all_looked_at(models, digits):
    """Two tensors are images with their labels only where the second one can be labels."""
    images = digits.images("cpu")

    def find_companions(unlabeled):
        ranking = flatselect.rank(models, digits, calibrator="none", unlabeled=unlabeled)
        return [candidate.measurement.companions for candidate in ranking.candidates]

    at_once = find_companions(images[:70])
    assert find_companions([images[:30], images[30:70]]) == at_once
    assert find_companions((images[:70], digits.labels[:70])) == at_once
    assert find_companions(images[:30]) != at_once


def test_other_mistakes(models, digits, tmp_path):
    unlabeled = torch.stack([torch.zeros(1, 8, 8), torch.full((1, 8, 8), torch.nan)])
    with pytest.raises(DataError, match="1 images hold NaN or infinity, first image 1; remove them"):
        flatselect.rank(models, digits, calibrator="none", unlabeled=unlabeled)
    with pytest.raises(DataError, match="n_probe_images = 0; expected at least 1"):
        flatselect.rank(models, digits, n_probe_images=0)
    with pytest.raises(ModelError, match="expected several"):
        flatselect.rank(models["width 4"], digits)
    with pytest.raises(ModelError, match="no models"):
        flatselect.rank([], digits)
    with pytest.raises(ModelError, match="two models are called 'a'"):
        flatselect.rank([("a", models["width 4"]), ("a", models["width 6"])], digits)
    with pytest.raises(ModelError, match="expected a torch"):
        flatselect.rank(["runs/a.pt"], digits)
    with pytest.raises(CalibrationError, match="no such calibrator file"):
        flatselect.rank(models, digits, calibrator=tmp_path / "absent.json")
    with pytest.raises(DataError, match="unlabelled images are 3×8×8, training images 1×8×8"):
        flatselect.rank(models, digits, calibrator="none", unlabeled=torch.zeros(2, 3, 8, 8))
