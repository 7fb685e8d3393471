"""The average of several networks' weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from flatselect.data.dataset import Dataset
from flatselect.errors import CheckpointError
from flatselect.training.seeding import seeded

Weights = Mapping[str, Any]  # a state_dict


def average_weights(ingredients: Sequence[Weights]) -> dict[str, Any]:
    """The mean of each tensor, w̄ = (w₁ + … + wₙ) / n, taken in float64.

    What is no floating-point number, such as batch norm's `num_batches_tracked`, is the first ingredient's.

    Args:
        ingredients: State dicts with the same keys and shapes; one or more.

    Raises:
        CheckpointError: They differ in a key or a shape.
    """
    first = ingredients[0]
    for other in ingredients[1:]:
        for name in [*first, *(name for name in other if name not in first)]:
            shapes = [_describe_shape(weights, name) for weights in (first, other)]
            if shapes[0] != shapes[1]:
                raise CheckpointError(f"{name!r} is {shapes[1]}, in the average {shapes[0]}: another network's weights")
    return {
        name: _average([weights[name] for weights in ingredients]) if _is_averaged(value) else value
        for name, value in first.items()
    }


def reestimate_batch_norm(
    model: nn.Module, dataset: Dataset, batch_size: int, device: torch.device | str, seed: int
) -> None:
    """Sets the running mean and variance of every batch norm to their mean over one pass of batches; no label is used.

    Averaged weights make other activations than any of the ingredients, whose running statistics do not fit them.

    Args:
        model: On `device`; its mode is left as it was. Its dropout, if any, is on, as in training.
        dataset: What it was trained on; not augmented.
        batch_size: Images a batch.
        device: Where the model is.
        seed: Of the order: an image folder is sorted by class, and the variance within one class is too small.
    """
    with seeded(seed):
        batches = dataset.batches(batch_size, device, shuffle_seed=seed)
        update_bn((images for images, _ in batches), model)


def _is_averaged(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _average(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0].to(torch.promote_types(tensors[0].dtype, torch.float64), copy=True)
    for tensor in tensors[1:]:
        total += tensor
    return (total / len(tensors)).to(tensors[0].dtype)


def _describe_shape(weights: Weights, name: str) -> str:
    if name not in weights:
        return "missing"
    value = weights[name]
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else "no tensor"
