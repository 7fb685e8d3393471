"""Optimizers and learning-rate schedules."""

import math

import torch
from torch import nn

from flatselect.config import TrainingSection


def make_optimizer(model: nn.Module, training: TrainingSection) -> torch.optim.Optimizer:
    """The optimizer over every trainable parameter."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate, decay = training.learning_rate, training.weight_decay
    match training.optimizer:
        case "sgd":
            return torch.optim.SGD(
                parameters,
                lr=rate,
                momentum=training.momentum,
                weight_decay=decay,
                nesterov=training.nesterov and training.momentum > 0,
            )
        case "adam":
            return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


def make_scheduler(
    optimizer: torch.optim.Optimizer, training: TrainingSection, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """A scheduler to be stepped after every batch."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step / steps_per_epoch, training)
    )


def learning_rate_factor(epochs_done: float, training: TrainingSection) -> float:
    """By what the learning rate is multiplied after `epochs_done` epochs (with fractions).

    Warm-up rises linearly, from a hundredth so that the first batch is not wasted. The cosine falls from 1 to 0 over
    the epochs after the warm-up; the step schedule multiplies by `step_factor` every `step_epochs`.
    """
    warmup = min(training.warmup_epochs, training.epochs)
    if epochs_done < warmup:
        return max(epochs_done / warmup, 0.01)
    match training.schedule:
        case "constant":
            return 1.0
        case "step":
            return float(training.step_factor ** (epochs_done // training.step_epochs))
        case "cosine":
            part = min((epochs_done - warmup) / max(training.epochs - warmup, 1e-9), 1.0)
            return 0.5 * (1 + math.cos(math.pi * part))
