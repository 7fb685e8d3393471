"""From a candidate to its network."""

import torch
from torch import nn

from flatselect.data.dataset import Dataset
from flatselect.models import build_model
from flatselect.search_space import Candidate
from flatselect.training.memory_format import move_to_device
from flatselect.training.seeding import seeded


def build_candidate(
    candidate: Candidate, dataset: Dataset, *, seed: int, device: torch.device | str = "cpu"
) -> nn.Module:
    """The network for images and classes as of `dataset`, with the first weights of `seed`, ready to train on `device`.

    Raises:
        ModelError: It cannot be built.
    """
    with seeded(seed):
        model = build_model(candidate.model, candidate.model_args, dataset.input_shape, dataset.n_classes)
    return move_to_device(model, device)
