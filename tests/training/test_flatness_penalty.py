"""Training with the flatness penalty: it flattens, it resumes bit for bit, and at 0 it is not there."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from flatselect import measure
from flatselect.config import DataSection, TrainingSection
from flatselect.data.dataset import Dataset, gather_images
from flatselect.data.loading import load_training_set
from flatselect.errors import NonFiniteError
from flatselect.flatness import find_head, flatness_penalty
from flatselect.models.factories import build_model
from flatselect.search_space import Candidate
from flatselect.training.evaluation import evaluate
from flatselect.training.fit import Trainer
from flatselect.training.seeding import seeded


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_training_set(DataSection(train="digits", size=300), seed=0)


def make_trainer(
    dataset: Dataset, *, has_penalty: bool = True, augmentation: str = "flip+shift", **training: object
) -> Trainer:
    settings = {"epochs": 4, "batch_size": 32, "optimizer": "adam", "learning_rate": 0.01, **training}
    candidate = Candidate("cnn", {"width": 8, "dropout": 0.2}, TrainingSection(**settings), augmentation)
    with seeded(3):
        model = build_model("cnn", candidate.model_args, dataset.input_shape, dataset.n_classes)
    head = find_head(model, next(iter(dataset.batches(4, "cpu")))[0])
    penalty = partial(flatness_penalty, head=head) if has_penalty else None
    return Trainer(model, dataset, candidate, seed=3, device="cpu", penalty=penalty)


def train(trainer: Trainer) -> Trainer:
    while not trainer.is_done:
        trainer.train_epoch()
    return trainer


def assert_same_weights(one: Trainer, other: Trainer) -> None:
    for (name, value), other_value in zip(
        one.model.state_dict().items(), other.model.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other_value), name


def test_a_strength_of_0_changes_no_bit(digits: Dataset) -> None:
    plain, without = (train(make_trainer(digits, has_penalty=has)) for has in (False, True))
    assert plain.train_loss == without.train_loss
    assert_same_weights(plain, without)


def test_the_penalty_flattens(digits: Dataset) -> None:
    images, _ = gather_images(digits, "cpu")
    flatness, scores = [], []
    for strength in (0.0, 0.03):
        trainer = train(make_trainer(digits, augmentation="none", epochs=12, flatness_penalty=strength))
        flatness.append(measure(trainer.model, images).relative_gap_flatness)
        scores.append(evaluate(trainer.model, digits, 128, "cpu").score)
    assert flatness[1] < 0.5 * flatness[0]
    assert min(scores) > 0.7  # it has not unlearnt to be flat: chance is 0.1


def test_a_resumed_trial_is_bit_identical(digits: Dataset) -> None:
    undisturbed = train(make_trainer(digits, flatness_penalty=0.3))
    first = make_trainer(digits, flatness_penalty=0.3)
    first.train_epoch()
    second = make_trainer(digits, flatness_penalty=0.3)
    torch.rand(17)  # whatever happens between two runs must not matter
    second.load_state_dict(first.state_dict())
    train(second)
    assert second.train_loss == undisturbed.train_loss
    assert_same_weights(undisturbed, second)


def test_it_is_computed_on_the_first_images_of_each_batch(digits: Dataset) -> None:
    seen: list[Tensor] = []

    def penalise(model: nn.Module, images: Tensor) -> Tensor:
        seen.append(images)
        return next(model.parameters()).sum() * 0

    trainer = make_trainer(digits, flatness_penalty=0.3, flatness_penalty_images=20, batch_size=128)
    trainer._penalty = penalise
    trainer.train_epoch()
    assert [len(images) for images in seen] == [20, 20, 20]  # the last batch holds 44 images
    without = make_trainer(digits, batch_size=128)
    without.train_epoch()
    assert_same_weights(trainer, without)


def test_the_target_loss_is_the_cross_entropy_alone(digits: Dataset) -> None:
    trainer = make_trainer(digits, flatness_penalty=0.3)
    trainer._penalty = lambda model, images: next(model.parameters()).sum() * 0 + 1e6
    trainer.train_epoch()
    assert trainer.train_loss < 10


def test_divergence_names_the_strength(digits: Dataset) -> None:
    with pytest.raises(NonFiniteError, match=r"learning_rate = 0\.01, flatness_penalty = 1e\+300"):
        train(make_trainer(digits, flatness_penalty=1e300))


def test_a_strength_without_a_penalty_is_refused(digits: Dataset) -> None:
    with pytest.raises(ValueError, match="expected a `penalty`"):
        make_trainer(digits, has_penalty=False, flatness_penalty=0.3)
