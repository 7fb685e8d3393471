"""Networks train in the order of memory that is fast, and in another where that writes past the end of its arrays."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from flatselect.models import build_model
from flatselect.training.memory_format import choose_memory_format

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own, as what must not happen ends it. Two threads and an odd batch leave the least room.
TRAIN = """
import torch
from flatselect.config import TrainingSection
from flatselect.data.dataset import TensorDataset
from flatselect.search_space import Candidate
from flatselect.training.fit import Trainer
from tests.training.test_memory_format import make_network

torch.set_num_threads(2)
pixels = torch.randint(256, (33, 3, 128, 128), dtype=torch.uint8)
dataset = TensorDataset(pixels, torch.arange(33) % 4, tuple("abcd"), mean=(0.5,) * 3, std=(0.5,) * 3)
candidate = Candidate("own", {{}}, TrainingSection(epochs=10, batch_size=33, learning_rate=0.01), "none")
trainer = Trainer(make_network({name!r}), dataset, candidate, seed=0, device="cpu")
while not trainer.is_done:
    trainer.train_epoch()
    [torch.empty(37 * n) for n in range(1, 40)]
"""


def make_network(name):
    torch.manual_seed(0)
    if name == "strided pointwise":
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Conv2d(4, 8, 1, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        )
        return network.to(memory_format=torch.channels_last)
    return build_model("cnn", {"block": name, "width": 4, "stages": 3}, (3, 128, 128), 4)


@pytest.mark.parametrize("name", ["strided pointwise", "residual"])
def test_training_a_narrow_network_does_not_end_the_process(name):
    command = [sys.executable, "-c", TRAIN.format(name=name)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("block", ["plain", "residual", "depthwise", "inverted_residual"])
def test_the_own_family_always_has_its_channels_last(block):
    model = build_model("cnn", {"block": block, "width": 4, "stages": 3}, (3, 32, 32), 4)
    assert choose_memory_format(model, "cpu") is torch.channels_last


@pytest.mark.parametrize(
    ("convolution", "is_safe"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), False),
        (nn.Conv2d(15, 8, 1, stride=(1, 2)), False),
        (nn.Conv2d(32, 8, 1, stride=2, groups=4), False),
        (nn.Conv2d(16, 8, 1, stride=2), True),
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(4, 8, 3, stride=2), True),
        (nn.Conv1d(4, 8, 1, stride=2), True),
    ],
)
def test_a_narrow_strided_pointwise_convolution_on_a_cpu_is_not_given_its_channels_last(convolution, is_safe):
    network = nn.Sequential(nn.Identity(), convolution)
    assert choose_memory_format(network, "cpu") is (torch.channels_last if is_safe else torch.contiguous_format)
    assert choose_memory_format(network, torch.device("cuda", 0)) is torch.channels_last
