"""Score and loss of a model on labelled images."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from flatselect.data.dataset import Dataset
from flatselect.errors import NonFiniteError


@dataclass(frozen=True)
class Evaluation:
    """`score` is accuracy in [0, 1], `loss` the mean cross-entropy in nats, over `n_images` images."""

    score: float
    loss: float
    n_images: int


@torch.no_grad()
def evaluate(model: nn.Module, dataset: Dataset, batch_size: int, device: torch.device | str) -> Evaluation:
    """Evaluates in evaluation mode, without augmentation; the model's mode is put back.

    Raises:
        NonFiniteError: The loss is NaN or infinite; says whether images are.
    """
    was_training = model.training
    model.eval()
    try:
        # Sums stay on the device: one transfer in all, not one a batch.
        n_right = torch.zeros((), dtype=torch.int64, device=device)
        loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        for images, labels in dataset.batches(batch_size, device):
            logits = model(images)
            n_right += (logits.argmax(1) == labels).sum()
            loss_sum += functional.cross_entropy(logits.float(), labels, reduction="sum").double()
    finally:
        model.train(was_training)
    loss = float(loss_sum) / len(dataset)
    if not math.isfinite(loss):
        batches = dataset.batches(batch_size, device)
        n_broken = sum(int((~images.isfinite().flatten(1).all(1)).sum()) for images, _ in batches)
        if n_broken:
            raise NonFiniteError(f"{n_broken} images of {dataset.name} hold NaN or infinity; remove them")
        raise NonFiniteError(f"the loss on {dataset.name} is {loss}; a lower learning rate or gradient_clip may help")
    return Evaluation(score=int(n_right) / len(dataset), loss=loss, n_images=len(dataset))
