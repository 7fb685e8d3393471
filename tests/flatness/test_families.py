"""The families of torchvision and timm: docs/coverage.md says what is so, and every number is that of autograd."""

import pytest
import torch
import torch.nn.functional as F
from families import FAMILIES, PAGE, Family, build, find_row, judge, write_page
from test_random_heads import sum_over_classes
from torch import Tensor, nn


@pytest.mark.parametrize(
    "family",
    [pytest.param(f, id=str(f), marks=() if f.is_quick else pytest.mark.coverage) for f in FAMILIES],
)
def test_family(family: Family) -> None:
    model, images = build(family)
    outcome = judge(family, model, images)
    assert outcome.row == find_row(family, PAGE.read_text(encoding="utf-8")), (
        "docs/coverage.md says otherwise: if the code is right, python tests/flatness/families.py --write"
    )
    assert (outcome.measured is None) == (not family.named and bool(outcome.refusal))
    model.requires_grad_(False)
    for layer in outcome.measured.layers if outcome.measured else ():
        weight = model.get_submodule(layer.layer).weight.requires_grad_()
        flatness, trace = sum_over_classes(model, weight, images)
        assert layer.relative_flatness > 1e-6, "not alive: nothing would be compared"
        assert layer.relative_flatness == pytest.approx(flatness, rel=1e-9)
        assert layer.hessian_trace == pytest.approx(trace, rel=1e-9)
        assert (layer.exactness == "hessian") == is_label_free(model, weight, images[:1]), layer.layer
        weight.requires_grad_(False)


def is_label_free(model: nn.Module, weight: Tensor, image: Tensor) -> bool:
    """Whether the Hessian in the weight, along one direction, is the same for two labels, by autograd.

    Where an operation has no second derivative in torch, nothing is known, and nothing is claimed.
    """
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3), dtype=weight.dtype)
    products = []
    logits = model(image)
    for label in range(2):
        loss = F.cross_entropy(logits, torch.tensor([label]))
        (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
        try:
            products += torch.autograd.grad(gradient, weight, direction, retain_graph=True)
        except RuntimeError as error:
            assert "is not implemented" in str(error)  # noqa: PT017 - any other is none that was expected
            return False
    one, other = products
    return bool((one - other).abs().max() <= 1e-9 * one.abs().max())


def test_the_page_holds_these_rows_and_nothing_else() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [find_row(family, page) for family in FAMILIES]
    assert all(rows)
    assert page == write_page(rows)


def test_families_are_named_once() -> None:
    assert len({str(family) for family in FAMILIES}) == len(FAMILIES)
