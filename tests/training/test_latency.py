"""The time a network takes for an image. What a time is cannot be asserted; what it is a time of can."""

import pytest
import torch
from torch import Tensor, nn

from flatselect.training import latency
from flatselect.training.latency import measure_latency


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.seen: list[tuple[torch.Size, bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append((images.shape, self.training, torch.is_grad_enabled()))
        return self.norm(images)


def test_it_is_the_median_pass_shared_among_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock by which passes take 1, 2, 3, ... seconds: three warm up, and the median of 4 to 23 seconds is 13.5.
    ticks = iter(tick for seconds in range(1, 24) for tick in (0.0, float(seconds)))
    monkeypatch.setattr(latency.time, "perf_counter", lambda: next(ticks))
    assert measure_latency(Counting(), torch.zeros(5, 3, 4, 4)) == 1000 * 13.5 / 5


def test_the_model_is_run_in_evaluation_mode_without_gradients_and_left_as_it_was() -> None:
    model = Counting()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert measure_latency(model, torch.randn(2, 3, 4, 4)) > 0
    assert set(model.seen) == {(torch.Size([2, 3, 4, 4]), False, False)}
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
