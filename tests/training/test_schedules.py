"""Learning-rate schedules against their formulas."""

import math

import pytest
import torch

from flatselect.config import TrainingSection
from flatselect.training.optimizers import learning_rate_factor, make_optimizer, make_scheduler


def test_cosine_is_torchs_own_without_warmup() -> None:
    training = TrainingSection(epochs=7, schedule="cosine")
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    peer = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7)
    for epoch in range(7):
        assert learning_rate_factor(epoch, training) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        peer.step()


def test_step_and_constant() -> None:
    step = TrainingSection(epochs=30, schedule="step", step_epochs=10, step_factor=0.1)
    assert [learning_rate_factor(epoch, step) for epoch in (0, 9.9, 10, 25)] == pytest.approx([1, 1, 0.1, 0.01])
    assert learning_rate_factor(25, TrainingSection(epochs=30, schedule="constant")) == 1


def test_warmup_rises_to_one_and_the_cosine_starts_there() -> None:
    training = TrainingSection(epochs=12, warmup_epochs=2, schedule="cosine")
    assert learning_rate_factor(1, training) == pytest.approx(0.5)
    assert learning_rate_factor(2, training) == pytest.approx(1)
    assert learning_rate_factor(7, training) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert learning_rate_factor(0, training) > 0


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_optimizers_take_their_hyper_parameters(name: str, kind: str) -> None:
    training = TrainingSection(optimizer=name, learning_rate=0.02, weight_decay=0.003, momentum=0.8, nesterov=True)
    optimizer = make_optimizer(torch.nn.Linear(2, 2), training)
    group = optimizer.param_groups[0]
    assert type(optimizer).__name__ == kind
    assert (group["lr"], group["weight_decay"]) == (0.02, 0.003)
    if name == "sgd":
        assert (group["momentum"], group["nesterov"]) == (0.8, True)
    scheduler = make_scheduler(optimizer, training, steps_per_epoch=5)
    optimizer.step()
    scheduler.step()
    assert group["lr"] == pytest.approx(0.02 * learning_rate_factor(1 / 5, training))
