"""Batch norm by a batch's own statistics in evaluation mode, with derivatives that go through them or hold them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle


class BatchStatistics:
    """Makes batch norms in evaluation mode normalise by the batch, their running statistics m, v untouched.

    A layer's input y with mean μ and variance σ² is replaced by m + √(v + ε)·(y − μ)/√(σ² + ε), of which the layer's
    own evaluation makes γ·(y − μ)/√(σ² + ε) + β. So it works for layers that do more than normalise, too.

    Through μ and σ² every image depends on all. Inside `held()` a derivative takes them as constants, which keeps
    images apart; a derivative of that derivative, taken outside of it, goes through them.
    """

    def __init__(self) -> None:
        self._is_holding = False
        self._is_tail = False

    def use_in(
        self, layers: Iterable[_BatchNorm], measured: Iterable[nn.Module], handles: list[RemovableHandle]
    ) -> None:
        """Puts hooks on the layers; statistics can be held in what runs after the first of `measured`.

        Args:
            layers: Batch norms, in evaluation mode; one without running statistics goes by the batch anyway.
            measured: Where the tail begins; the layers before it take a quicker way.
            handles: Receives the hooks.
        """

        def begin_tail(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            self._is_tail = True

        handles.extend(layer.register_forward_pre_hook(begin_tail) for layer in measured)
        for layer in layers:
            if layer.running_mean is not None:
                handles.append(layer.register_forward_pre_hook(self._normalise, with_kwargs=True))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Derivatives taken inside take the statistics as constants."""
        self._is_holding = True
        try:
            yield
        finally:
            self._is_holding = False

    def _normalise(
        self, layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]
    ) -> tuple[tuple[Tensor], dict[str, Tensor]]:
        assert isinstance(layer, _BatchNorm)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        given = args[0] if args else kwargs["input"]
        mean, spread = layer.running_mean.to(given.dtype), (layer.running_var + layer.eps).sqrt().to(given.dtype)
        if not self._is_tail:
            return (F.batch_norm(given, None, None, spread, mean, training=True, eps=layer.eps),), {}
        dims = [0, *range(2, given.ndim)]
        batch_variance, batch_mean = (
            self._make_holdable(value) for value in torch.var_mean(given, dims, correction=0, keepdim=True)
        )
        shape = batch_mean.shape
        scale = (batch_variance + layer.eps).rsqrt() * spread.view(shape)
        return ((given - batch_mean) * scale + mean.view(shape),), {}

    def _make_holdable(self, statistic: Tensor) -> Tensor:
        if statistic.requires_grad:
            statistic.register_hook(lambda gradient: torch.zeros_like(gradient) if self._is_holding else gradient)
        return statistic
