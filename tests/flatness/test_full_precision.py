"""Flatness is computed in float32 proper where the user lets float32 products be cut to TF32 or bfloat16."""

from collections.abc import Callable, Iterator

import pytest
import torch
from cases import make_case
from torch import nn

from flatselect import measure
from flatselect.errors import NonFiniteError
from flatselect.flatness import find_head, tail_reduction
from flatselect.flatness.class_jacobians import LayerJacobian
from flatselect.flatness.full_precision import full_precision


def allow_by_one_switch() -> None:
    torch.set_float32_matmul_precision("medium")


def allow_cuda_alone() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True


def allow_everything() -> None:
    torch.backends.fp32_precision = "tf32"


WAYS = [allow_by_one_switch, allow_cuda_alone]
if hasattr(torch.backends, "fp32_precision"):  # from PyTorch 2.9 on
    WAYS.append(allow_everything)


def read_precisions() -> list[str | bool]:
    if not hasattr(torch.backends, "fp32_precision"):
        return [torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32]
    mkldnn = torch.backends.mkldnn
    return [kind.fp32_precision for kind in (torch.backends.cuda.matmul, mkldnn.matmul, mkldnn.conv)]


def is_full(precisions: list[str | bool]) -> bool:
    return precisions in (["highest", False], ["ieee"] * 3)


@pytest.fixture(autouse=True)
def _precision_put_back() -> Iterator[None]:
    yield
    if hasattr(torch.backends, "fp32_precision"):
        torch.backends.fp32_precision = "none"
        torch.backends.mkldnn.conv.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("allow", WAYS)
@pytest.mark.parametrize("name", ["conv_bn_relu", "squeeze_excitation"])
def test_products_of_flatness_are_full_and_the_networks_own_as_allowed(
    name: str, allow: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images, _ = make_case(name)
    model, images = model.float(), images.float()
    in_forward: list[list[str | bool]] = []
    in_products: list[list[str | bool]] = []
    model.register_forward_hook(lambda *_: in_forward.append(read_precisions()))

    def observe(function: Callable[..., object]) -> Callable[..., object]:
        def observed(*args: object, **kwargs: object) -> object:
            in_products.append(read_precisions())
            return function(*args, **kwargs)

        return observed

    monkeypatch.setattr(tail_reduction, "compute_closed_form", observe(tail_reduction.compute_closed_form))
    monkeypatch.setattr(LayerJacobian, "_add_chunk", observe(LayerJacobian._add_chunk))
    allow()
    allowed = read_precisions()
    measure(model, images)
    assert not is_full(allowed)
    assert allowed in in_forward
    assert len(in_products) > 0
    assert all(map(is_full, in_products))
    assert read_precisions() == allowed


def test_the_setting_is_put_back_after_an_error() -> None:
    last = nn.Conv2d(3, 3, 3)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), last, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    nn.init.ones_(model[0].weight)
    images = torch.randn(4, 1, 8, 8)
    head = find_head(model, images)
    images[3] = 3e38
    allow_by_one_switch()
    allowed = read_precisions()
    with pytest.raises(NonFiniteError, match="input of layer '1'"):
        measure(model, images, head=head)
    assert read_precisions() == allowed


def test_nothing_is_set_where_nothing_was() -> None:
    before = read_precisions()
    with full_precision():
        assert is_full(read_precisions())
    assert read_precisions() == before
