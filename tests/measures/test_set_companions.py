"""The companions by name: what is asked for is what comes, however the images are cut or ordered."""

import math

import pytest
import torch
from sets import ImageSet, make_set

from flatselect.errors import ConfigError, DataError
from flatselect.measures import LABEL_COMPANION_NAMES, SET_COMPANION_NAMES, chunks, compute_set_companions

ALL_NAMES = (*SET_COMPANION_NAMES, *LABEL_COMPANION_NAMES)


def compute_all(images: ImageSet) -> dict[str, float]:
    return compute_set_companions(ALL_NAMES, *images)


def test_every_name_has_a_finite_float() -> None:
    values = compute_all(make_set())
    assert tuple(values) == ALL_NAMES
    assert all(type(value) is float and math.isfinite(value) for value in values.values())


@pytest.mark.parametrize("name", ALL_NAMES)
def test_asked_alone_a_name_has_the_same_value(name: str) -> None:
    images = make_set()
    assert compute_set_companions([name], *images) == {name: compute_all(images)[name]}


def test_names_come_in_one_order() -> None:
    values = compute_set_companions({"accuracy", "loss", "head_soft_rank"}, *make_set())
    assert list(values) == ["head_soft_rank", "loss", "accuracy"]
    assert compute_set_companions([], *make_set()) == {}


@pytest.mark.parametrize("n_elements", [1, 100])
def test_the_size_of_the_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch, n_elements: int) -> None:
    images = make_set()
    at_once = compute_all(images)
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", n_elements)
    assert compute_all(images) == pytest.approx(at_once, rel=1e-10)


def test_the_order_of_the_images_changes_nothing() -> None:
    images = make_set()
    order = torch.randperm(len(images.logits), generator=torch.Generator().manual_seed(1))
    shuffled = ImageSet(images.logits[order], images.features[order], images.weight, images.labels[order])
    assert compute_all(shuffled) == pytest.approx(compute_all(images), rel=1e-10)


def test_float32_is_computed_in_float64() -> None:
    logits, features, weight, labels = make_set()
    single = logits.float(), features.float(), weight.float()
    double = (tensor.double() for tensor in single)
    assert compute_set_companions(ALL_NAMES, *single, labels) == compute_set_companions(ALL_NAMES, *double, labels)


def test_what_was_given_is_left_as_it_was() -> None:
    images = make_set()
    images.weight.requires_grad_()
    before = [part.detach().clone() for part in images]
    compute_all(images)
    assert all(torch.equal(part, copy) for part, copy in zip(images, before, strict=True))


def test_labels_are_looked_at_only_where_they_are_needed() -> None:
    images = make_set()
    unlabelled = images[:3]
    expected = {name: value for name, value in compute_all(images).items() if name in SET_COMPANION_NAMES}
    assert compute_set_companions(SET_COMPANION_NAMES, *unlabelled, None) == expected
    assert compute_set_companions(SET_COMPANION_NAMES, *unlabelled, torch.tensor([0.5])) == expected
    with pytest.raises(DataError, match="no labels were given; accuracy, head_tic need one an image"):
        compute_set_companions(["head_tic", "accuracy"], *unlabelled, None)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="'flatness' among the companions; expected names of last_linear_flatness"):
        compute_set_companions(["loss", "flatness"], *make_set())


@pytest.mark.parametrize("part", range(3))
def test_parts_that_do_not_fit_together_are_refused(part: int) -> None:
    images = list(make_set())
    images[part] = images[part][1:]
    with pytest.raises(DataError, match=r"expected \(n_images, n_classes\)"):
        compute_set_companions(ALL_NAMES, *images)


@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_with_a_number_that_is_not_finite_nothing_is_defined(part: int, value: float) -> None:
    images = make_set()
    images[part][3, 2] = value
    assert all(map(math.isnan, compute_all(images).values()))


def test_without_images_nothing_is_defined() -> None:
    logits, features, weight, labels = make_set()
    values = compute_set_companions(ALL_NAMES, logits[:0], features[:0], weight, labels[:0])
    assert tuple(values) == ALL_NAMES
    assert all(map(math.isnan, values.values()))


def test_what_overflows_is_not_defined() -> None:
    logits, features, weight, labels = make_set()
    values = compute_set_companions(ALL_NAMES, logits, features * 1e200, weight * 1e200, labels)
    assert all(math.isnan(values[name]) for name in (*SET_COMPANION_NAMES, "head_tic"))
    assert math.isfinite(values["loss"])


def test_with_one_class_what_is_defined_is_zero() -> None:
    values = compute_all(make_set(n_classes=1))
    undefined = {"label_margin_q10", "label_margin_q50", "davies_bouldin"}
    assert {name for name, value in values.items() if math.isnan(value)} == undefined
    assert {name: value for name, value in values.items() if name not in undefined} == {
        "last_linear_flatness": 0,
        "last_linear_flatness_normalized": 0,
        "head_soft_rank": 0,
        "loss": 0,
        "accuracy": 1,
        "head_tic": 0,
    }


def test_one_image_is_enough() -> None:
    values = compute_all(make_set(n_images=1))
    assert {name for name, value in values.items() if math.isnan(value)} == {"davies_bouldin"}
    # One image's features do not vary: there is nothing to divide by.
    assert values["last_linear_flatness_normalized"] == values["last_linear_flatness"]
