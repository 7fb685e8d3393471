"""The zoo's networks: architectures and trainings drawn by lot, small enough to be many."""

from typing import Any

import numpy as np
from environments import Environment

from flatselect.config import TrainingSection
from flatselect.search_space import Candidate
from flatselect.training.seeding import derive_seed

# Images seen in all, and the training loss at which training ends before: most networks of long trainings get past 95 %
# training accuracy, some by far, some not; few of short ones do.
_N_SEEN = (16_000, 32_000, 64_000, 64_000)
_N_SEEN_SHORT = (4_000, 8_000, 16_000, 16_000)
_N_SEEN_BY_LARGE = 8_000  # a ResNet-18 costs ten times as much an image, and needs fewer
_TARGET_LOSSES = (0.2, 0.1, 0.05, 0.03, 0.01, 0.003)
_MOST_EPOCHS = 250


def draw_candidate(environment: Environment, number: int) -> Candidate:
    """The candidate of a number (from 0) in an environment."""
    generator = np.random.default_rng(derive_seed("zoo", "candidate", environment.number, number))

    def pick(*values: Any) -> Any:
        return values[int(generator.integers(len(values)))]

    batch_size = pick(16, 32, 32, 64)
    optimizer = pick("sgd", "sgd", "adam", "adamw")
    low, high = (0.02, 0.2) if optimizer == "sgd" else (0.001, 0.01)
    model, args = _draw_architecture(pick, environment)
    n_seen = _N_SEEN_BY_LARGE
    if model == "cnn":
        n_seen = pick(*(_N_SEEN_SHORT if environment.is_short else _N_SEEN))
    training = TrainingSection(
        epochs=int(np.clip(round(n_seen / environment.n_images), 4, _MOST_EPOCHS)),
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=float(low * (high / low) ** generator.random()),
        momentum=0.9,
        weight_decay=pick(0.0, 1e-5, 1e-4, 1e-3),
        schedule=pick("cosine", "cosine", "constant"),
        label_smoothing=pick(0.0, 0.0, 0.0, 0.0, 0.1),
        gradient_clip=5.0,
        target_train_loss=pick(*_TARGET_LOSSES),
    )
    return Candidate(model, args, training, augmentation=pick("none", "none", "none", "none", "shift"))


def _draw_architecture(pick: Any, environment: Environment) -> tuple[str, dict[str, Any]]:
    family = pick(*["cnn"] * 29, "torchvision:resnet18")
    if family != "cnn":
        return family, {}
    block = pick("plain", "plain", "residual", "residual", "depthwise", "inverted_residual")
    return "cnn", {
        "width": pick(8, 12, 16, 24),
        "width_growth": pick(1.5, 2.0),
        "stages": pick(1, 2) if environment.image_size == 8 else pick(2, 3),
        "depth": pick(1, 1, 2),
        "block": block,
        "expansion": pick(2, 4),
        "kernel_size": pick(3, 3, 3, 5),
        "downsampling": pick("stride", "max_pool", "average_pool"),
        "norm": pick("batch", "batch", "batch", "group") if block in ("plain", "residual") else "batch",
        "activation": pick("relu", "relu", "leaky_relu", "silu"),
        "dropout": pick(0.0, 0.0, 0.0, 0.0, 0.2),
        "last_conv1x1": pick(False, False, True),
    }
