"""Companions that `measure` computes on request, from the same pass."""

import pytest
import torch
from cases import make_case

from flatselect import measure
from flatselect.errors import DataError
from flatselect.flatness import GapFlatness, find_head
from flatselect.flatness.tail import run_tail
from flatselect.measures import COMPANION_NAMES, LABEL_COMPANION_NAMES, SET_COMPANION_NAMES, compute_set_companions

ALL = (*SET_COMPANION_NAMES, *LABEL_COMPANION_NAMES)


@pytest.mark.parametrize("name", ["conv_bn_relu", "convolution_of_pooled_map", "group_norm", "dense"])
def test_companions_of_all_images(name: str) -> None:
    model, images, _ = make_case(name)
    images = torch.cat([images, images.flip(2), images * 0.5])
    labels = torch.arange(9) % 4
    measured = measure(model, [(images[:5], labels[:5]), (images[5:], labels[5:])], companions=ALL)
    assert set(measured.companions) == {*COMPANION_NAMES, *ALL}
    head = find_head(model, images)
    assert head.classifier is not None
    features: list[torch.Tensor] = []
    handle = head.classifier.register_forward_pre_hook(lambda _, args: features.append(args[0].detach().flatten(1)))
    logits = model.eval()(images).detach()
    handle.remove()
    expected = compute_set_companions(ALL, logits, features[0], head.classifier.weight.flatten(1), labels)
    assert {n: measured.companions[n] for n in ALL} == pytest.approx(expected, rel=1e-9)
    assert measured.companions["loss"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-12
    )
    # Petzka's own measure is what measuring the last linear layer gives.
    last = measure(model, images, layer=head.classifier_name)
    assert measured.companions["last_linear_flatness"] == pytest.approx(last.relative_gap_flatness, rel=1e-9)
    if features[0].std(0).min() > 1e-6:
        normalized = measure(model, images, layer=head.classifier_name, normalize_inputs=True)
        assert measured.companions["last_linear_flatness_normalized"] == pytest.approx(
            normalized.relative_gap_flatness, rel=1e-9
        )


def test_labels_must_be_there_when_needed_and_only_then() -> None:
    model, images, _ = make_case("conv_bn_relu")
    with pytest.raises(
        DataError, match=r"batch 0 of the data has no labels for 3 images; loss, head_tic need \(images"
    ):
        measure(model, images, companions=["head_tic", "loss"])
    with pytest.raises(DataError, match="2 labels for 3 images"):
        measure(model, [(images, torch.tensor([0, 1]))], companions=["loss"])
    with pytest.raises(DataError, match=r"companions=\['los'\]: unknown; expected any of mean_confidence"):
        measure(model, images, companions=["los"])
    for option in ("quantities", "companions"):
        with pytest.raises(DataError, match=f"{option}=3; expected a list of names"):
            measure(model, images, **{option: 3})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="4"):
        measure(model, [(images, torch.tensor([0, 1, 4]))], companions=["accuracy"])
    assert "head_soft_rank" in measure(model, images, companions=["head_soft_rank"]).companions
    assert measure(model, (images, torch.tensor([0, 1, 2])), companions=["accuracy"]).companions["accuracy"] <= 1


def test_workers_agree_with_one_go() -> None:
    model, images, _ = make_case("conv_bn_relu")
    images, labels = torch.cat([images, images.flip(3)]), torch.tensor([0, 1, 2, 3, 0, 1])
    model.eval()
    head = find_head(model, images)
    workers = [GapFlatness(head, companions=ALL) for _ in range(2)]
    for worker, part in zip(workers, (slice(0, 2), slice(2, 6)), strict=True):
        worker.update(run_tail(model, [head.layers[0].module], head.classifier, images[part], []), labels[part])
    workers[0].merge(workers[1])
    expected = measure(model, (images, labels), companions=ALL, head=head)
    assert workers[0].compute().companions == pytest.approx(expected.companions, rel=1e-12)


def test_labels_that_a_loader_fills_again() -> None:
    model, images, _ = make_case("conv_bn_relu")
    given = torch.arange(len(images) * 3) % 4
    expected = measure(model, [(images, labels) for labels in given.split(len(images))], companions=ALL)

    def refill():
        held = torch.empty(len(images), dtype=torch.int64)
        for labels in given.split(len(images)):
            yield images, held.copy_(labels)

    assert measure(model, refill(), companions=ALL).companions == expected.companions
