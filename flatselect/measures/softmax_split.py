"""Softmax written so that nothing cancels when the network is sure of itself."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SoftmaxSplit:
    """Probabilities p as the top class and the rest: p = (1 − s)·e_top + s·q.

    1 − p_top, computed from p, is 0 or noise once p_top is 1 to machine precision; `rest` is it to full precision.

    Attributes:
        top: Most probable class, (n_images,) int64.
        rest: s = 1 − p_top, (n_images,) float64.
        others: q, the probabilities given that the class is not the top one; 0 at the top; (n_images, n_classes)
            float64. All zero where there is one class only.
    """

    top: Tensor
    rest: Tensor
    others: Tensor

    @property
    def top_probability(self) -> Tensor:
        """p_top, (n_images,)."""
        return 1 - self.rest

    @property
    def gini(self) -> Tensor:
        """1 − Σ_c p_c² = s(1 + p_top) − s² Σ_c q_c², (n_images,)."""
        return self.rest * (1 + self.top_probability) - self.rest.square() * self.others.square().sum(1)

    def __getitem__(self, images: slice) -> "SoftmaxSplit":
        return SoftmaxSplit(self.top[images], self.rest[images], self.others[images])


def split_softmax(logits: Tensor) -> SoftmaxSplit:
    """Splits softmax(logits) into its top class and the rest, in float64.

    Args:
        logits: (n_images, n_classes), any floating type.
    """
    z = logits.detach().double()
    top = z.argmax(1)
    if z.shape[1] == 1:
        return SoftmaxSplit(top, z.new_zeros(len(z)), torch.zeros_like(z))
    z_others = z.scatter(1, top[:, None], -torch.inf)
    rest = torch.exp(z_others.logsumexp(1) - z.logsumexp(1))
    return SoftmaxSplit(top, rest, z_others.softmax(1))
