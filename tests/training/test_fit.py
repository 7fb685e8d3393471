"""Training: it learns, it resumes bit for bit, and it says when it diverges."""

import pytest
import torch

from flatselect.config import DataSection, TrainingSection
from flatselect.data.dataset import Dataset, TensorDataset
from flatselect.data.loading import load_training_set
from flatselect.errors import NonFiniteError
from flatselect.models.factories import build_model
from flatselect.search_space import Candidate
from flatselect.training.evaluation import evaluate
from flatselect.training.fit import Trainer
from flatselect.training.seeding import derive_seed, seeded


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_training_set(DataSection(train="digits", size=300), seed=0)


def make_trainer(dataset: Dataset, seed: int = 3, augmentation: str = "flip+shift", **training: object) -> Trainer:
    settings = {"epochs": 4, "batch_size": 32, "learning_rate": 0.05, **training}
    candidate = Candidate("cnn", {"width": 8, "dropout": 0.2}, TrainingSection(**settings), augmentation)
    with seeded(seed):
        model = build_model("cnn", candidate.model_args, dataset.input_shape, dataset.n_classes)
    return Trainer(model, dataset, candidate, seed=seed, device="cpu")


def assert_same_weights(one: Trainer, other: Trainer) -> None:
    for (name, value), other_value in zip(
        one.model.state_dict().items(), other.model.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other_value), name


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_resumed_trial_is_bit_identical(digits: Dataset, optimizer: str) -> None:
    undisturbed = make_trainer(digits, optimizer=optimizer, learning_rate=0.01)
    for _ in range(4):
        undisturbed.train_epoch()
    first = make_trainer(digits, optimizer=optimizer, learning_rate=0.01)
    first.train_epoch()
    first.train_epoch()
    second = make_trainer(digits, seed=3, optimizer=optimizer, learning_rate=0.01)
    torch.rand(17)  # whatever happens between two runs must not matter
    second.load_state_dict(first.state_dict())
    while not second.is_done:
        second.train_epoch()
    assert second.epoch == 4
    assert second.train_loss == undisturbed.train_loss
    assert_same_weights(undisturbed, second)


def test_a_compiled_trial_resumes_bit_for_bit_and_its_checkpoint_is_any_trials(digits: Dataset) -> None:
    torch._dynamo.utils.counters.clear()
    undisturbed = make_trainer(digits, epochs=3, compile=True)
    while not undisturbed.is_done:
        undisturbed.train_epoch()
    # A full batch and the last one, 32 and 12 images.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    first = make_trainer(digits, epochs=3, compile=True)
    first.train_epoch()
    state = first.state_dict()
    second = make_trainer(digits, epochs=3, compile=True)
    second.load_state_dict(state)
    while not second.is_done:
        second.train_epoch()
    assert second.train_loss == undisturbed.train_loss
    assert_same_weights(undisturbed, second)
    plain = make_trainer(digits, epochs=3)
    assert state["model"].keys() == plain.state_dict()["model"].keys()
    plain.load_state_dict(state)
    assert_same_weights(first, plain)


def test_training_leaves_the_global_random_state(digits: Dataset) -> None:
    before = torch.get_rng_state()
    make_trainer(digits).train_epoch()
    assert torch.equal(before, torch.get_rng_state())


def test_it_learns_real_digits(digits: Dataset) -> None:
    trainer = make_trainer(digits, augmentation="none", epochs=15, optimizer="adam", learning_rate=0.02)
    while not trainer.is_done:
        trainer.train_epoch()
    assert evaluate(trainer.model, digits, 128, "cpu").score > 0.9


def test_evaluation_is_the_plain_mean_and_keeps_the_mode(digits: Dataset) -> None:
    model = make_trainer(digits).model.train()
    result = evaluate(model, digits, 77, "cpu")
    assert model.training
    model.eval()
    images, labels = next(iter(digits.batches(len(digits), "cpu")))
    with torch.no_grad():
        logits = model(images).double()
    assert result.score == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    loss = -torch.log_softmax(logits, 1)[torch.arange(len(labels)), labels].mean()
    assert result.loss == pytest.approx(float(loss), rel=1e-5)
    assert result.n_images == len(digits)


def test_an_infinite_loss_says_whether_images_or_the_network_are_at_fault() -> None:
    pixels, labels = torch.rand(20, 1, 8, 8), torch.arange(20) % 2
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    broken = pixels.clone()
    broken[3, 0, 1, 1], broken[17] = torch.nan, torch.inf
    with pytest.raises(NonFiniteError, match="2 images of mine hold NaN or infinity; remove them"):
        evaluate(model, TensorDataset(broken, labels, ("a", "b"), "mine"), 8, "cpu")
    torch.nn.init.constant_(model[1].weight, torch.inf)
    with pytest.raises(NonFiniteError, match=r"the loss on mine is .*; a lower learning rate"):
        evaluate(model, TensorDataset(pixels, labels, ("a", "b"), "mine"), 8, "cpu")


def test_training_ends_early_at_the_target_loss(digits: Dataset) -> None:
    trainer = make_trainer(digits, epochs=50, target_train_loss=1.5)
    while not trainer.is_done:
        trainer.train_epoch()
    assert trainer.epoch < 50
    assert trainer.train_loss <= 1.5


def test_divergence_is_an_error(digits: Dataset) -> None:
    trainer = make_trainer(digits, learning_rate=1e30, momentum=0.0)
    with pytest.raises(NonFiniteError, match="learning_rate"):
        trainer.train_epoch()


def test_gradient_clipping_bounds_the_step(digits: Dataset) -> None:
    one_batch = digits.subset(torch.arange(30))
    trainer = make_trainer(
        one_batch, learning_rate=1.0, momentum=0.0, gradient_clip=1e-3, schedule="constant", batch_size=64
    )
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train_epoch()
    moved = [after - old for after, old in zip(trainer.model.parameters(), before, strict=True)]
    length = torch.sqrt(sum((step.detach() ** 2).sum() for step in moved))
    assert 0 < float(length) <= 1e-3 * 1.001


def test_label_smoothing_raises_the_optimised_loss(digits: Dataset) -> None:
    plain, smoothed = make_trainer(digits), make_trainer(digits, label_smoothing=0.3)
    for trainer in (plain, smoothed):
        for _ in range(4):
            trainer.train_epoch()
    assert smoothed.train_loss > plain.train_loss


def test_seeds_are_functions_of_their_parts() -> None:
    seeds = [derive_seed(seed, use, number) for seed in (0, 1) for use in ("a", "b") for number in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert derive_seed(0, "a", 1) == 597688857  # old studies must resume: it may never change
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_another_seed_trains_another_network(digits: Dataset) -> None:
    one, other = make_trainer(digits, seed=1), make_trainer(digits, seed=2)
    weights = [next(iter(trainer.model.parameters())) for trainer in (one, other)]
    assert not torch.equal(*weights)
