"""A network and the images it is measured on."""

import sys

import pytest
import torch

from flatselect.config import DataSection
from flatselect.data import load_training_set
from flatselect.models import build_model


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return tmp_path


@pytest.fixture(scope="session")
def model():
    torch.manual_seed(0)
    model = build_model("cnn", {"width": 4}, (1, 8, 8), 10)
    model(torch.randn(64, 1, 8, 8))  # batch norms have seen something
    return model.eval()


@pytest.fixture(scope="session")
def digits():
    return load_training_set(DataSection(train="digits"), 0)
