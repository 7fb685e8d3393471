"""What the nodes of an autograd graph say of the function that made it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flatselect.flatness.tail_structure import TailStructure

WEIGHT = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class ReluOfItsOwn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


PIECEWISE_LINEAR: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: F.linear(x, WEIGHT, WEIGHT[0]),
    "matrix product": lambda x: WEIGHT @ x,
    "convolution": lambda x: F.conv1d(x[:, None], WEIGHT[:, None, :3]),
    "factor": lambda x: (2 * x - WEIGHT) * WEIGHT / 3 / WEIGHT,
    "activations": lambda x: F.relu6(F.leaky_relu(F.hardtanh(x.abs().clamp(0.1)))) - F.prelu(x, WEIGHT[0, :1]),
    "moves": lambda x: torch.stack([x.T.flip(0)[:2], x[1:3].permute(0, 1)]).mean(0).unsqueeze(0),
    "pools": lambda x: F.avg_pool1d(F.pad(x, (1, 1)), 2) + F.max_pool1d(x, 2, padding=1)[:, :3],
    "batch norm": lambda x: F.batch_norm(x[None], x.new_zeros(4), x.new_ones(4), weight=WEIGHT[0], bias=x.mean(0)),
    "picked": lambda x: torch.cat([x[[2, 0]], x.split(2)[0]]).sum(0, keepdim=True).expand(3, 4),
}
CURVED: dict[str, Callable[[Tensor], Tensor]] = {
    "product": lambda x: x * x.T,
    "matrix product": lambda x: x @ x,
    "linear": lambda x: F.linear(x, x, WEIGHT[0]),
    "convolution": lambda x: F.conv1d(x[:, None], x[:, None, :3]),
    "fused product": lambda x: torch.addcmul(WEIGHT, x, x),
    "ratio": lambda x: WEIGHT / (x.square() + 1),
    "norm": lambda x: F.layer_norm(x, (4,)),
    "sigmoid": lambda x: torch.sigmoid(x),
    "hardswish": lambda x: F.hardswish(x),
    "attention": lambda x: F.softmax(x, 1) @ WEIGHT,
    "learned slope": lambda x: F.prelu(-x.abs(), x.mean()[None]),
    "norm of pairs": lambda x: torch.view_as_complex(x.reshape(4, 2, 2).contiguous()).abs(),
    "product of picked": lambda x: torch.ones_like(x).index_reduce(1, torch.tensor([0, 0, 1, 1]), x, "prod"),
    "batch norm": lambda x: F.batch_norm(x[None], x.new_zeros(4), x.new_ones(4), weight=x.mean(0)),
    "written in Python": lambda x: ReluOfItsOwn.apply(x),
}


def has_second_derivative(function: Callable[[Tensor], Tensor]) -> bool:
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    hessian = torch.autograd.functional.hessian(
        lambda x: function(x).flatten() @ torch.arange(1.0, 1 + function(x).numel()).double(), x
    )
    return bool(hessian.abs().max() > 1e-12)


@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
def test_what_is_linear_but_for_kinks(name: str) -> None:
    x = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    assert TailStructure.of(PIECEWISE_LINEAR[name](x).grad_fn).is_piecewise_linear
    assert not has_second_derivative(PIECEWISE_LINEAR[name])


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("name", CURVED)
def test_what_may_be_curved(name: str) -> None:
    x = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    output = CURVED[name](x)
    structure = TailStructure.of(output.grad_fn)
    assert not structure.is_piecewise_linear
    assert not structure.is_plain
    assert has_second_derivative(CURVED[name]) or name == "written in Python"
