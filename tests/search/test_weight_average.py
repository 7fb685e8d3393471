"""The average of two state dicts, and the batch norms of a network that was made so."""

import numpy as np
import pytest
import torch
from torch import nn

from flatselect.config import DataSection
from flatselect.data.dataset import Dataset
from flatselect.data.loading import load_training_set
from flatselect.errors import CheckpointError
from flatselect.models import build_model
from flatselect.search.weight_average import average_weights, reestimate_batch_norm


@pytest.fixture(scope="module")
def images() -> Dataset:
    return load_training_set(DataSection(train="digits", size=100), 0)


def make_network(seed: int = 0, **args: object) -> nn.Module:
    torch.manual_seed(seed)
    return build_model("cnn", {"width": 4, **args}, (1, 8, 8), 10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_mean_is_numpys(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    states = [{"w": torch.randn(3, 2, 3, 3).to(dtype), "scalar": torch.randn(()).to(dtype)} for _ in range(5)]
    average = average_weights(states)
    for name in ("w", "scalar"):
        expected = np.mean([state[name].double().numpy() for state in states], axis=0)
        assert average[name].dtype == dtype
        assert average[name].shape == states[0][name].shape
        np.testing.assert_array_equal(average[name].numpy(), expected.astype(states[0][name].numpy().dtype))


def test_the_mean_is_taken_in_float64() -> None:
    states = [{"w": torch.tensor([value])} for value in (1e8, 1.0, -1e8)]  # in float32, 1e8 + 1 is 1e8
    assert average_weights(states)["w"].item() == pytest.approx(1 / 3)


def test_what_is_no_floating_point_number_is_the_firsts() -> None:
    one = {"n": torch.tensor(3), "mask": torch.tensor([True, False]), "text": "a", "z": torch.tensor([1 + 1j])}
    other = {"n": torch.tensor(8), "mask": torch.tensor([True, True]), "text": "b", "z": torch.tensor([3 + 0j])}
    average = average_weights([one, other])
    assert (average["n"].item(), average["mask"].tolist(), average["text"]) == (3, [True, False], "a")
    assert average["z"].item() == 2 + 0.5j


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_average_of_a_network_with_itself_is_itself(n: int) -> None:
    state = make_network().state_dict()
    before = {name: value.clone() for name, value in state.items()}
    average = average_weights([state] * n)
    assert list(average) == list(state)
    for name, value in state.items():
        assert torch.equal(average[name], value)
        assert torch.equal(before[name], value)


@pytest.mark.parametrize("args", [{"width": 5}, {"depth": 2}, {"norm": "none"}])
def test_another_networks_weights_are_refused(args: dict[str, object]) -> None:
    one, other = make_network().state_dict(), make_network(**args).state_dict()
    for states in ([one, other], [other, one], [one, one, other]):
        with pytest.raises(CheckpointError, match="another network's weights"):
            average_weights(states)


@pytest.mark.parametrize("batch_size", [32, 100])
def test_running_statistics_are_those_of_the_layers_input(images: Dataset, batch_size: int) -> None:
    model = make_network()
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    inputs: dict[str, list[np.ndarray]] = {name: [] for name in norms}
    for name, norm in norms.items():
        norm.running_mean.fill_(7.0)
        norm.register_forward_pre_hook(lambda _, given, name=name: inputs[name].append(given[0].double().numpy()))
    model.eval()
    reestimate_batch_norm(model, images, batch_size, "cpu", seed=3)
    assert len(norms) >= 2
    for name, norm in norms.items():
        assert sum(len(batch) for batch in inputs[name]) == 100
        means = [batch.mean(axis=(0, 2, 3)) for batch in inputs[name]]
        variances = [batch.var(axis=(0, 2, 3), ddof=1) for batch in inputs[name]]
        np.testing.assert_allclose(norm.running_mean, np.mean(means, axis=0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(norm.running_var, np.mean(variances, axis=0), rtol=1e-4)
        assert norm.momentum == 0.1
    assert not model.training


def test_the_first_batch_norm_sees_the_convolution_of_the_images(images: Dataset) -> None:
    model = make_network()
    reestimate_batch_norm(model, images, 100, "cpu", seed=3)
    modules = list(model.modules())
    convolution = next(module for module in modules if isinstance(module, nn.Conv2d))
    norm = next(module for module in modules if isinstance(module, nn.BatchNorm2d))
    (batch, _) = next(iter(images.batches(100, "cpu")))
    with torch.no_grad():
        values = convolution(batch).transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(norm.running_mean.double(), values.mean(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), values.var(1), rtol=1e-4, atol=0)


def test_no_batch_is_of_one_image_or_one_class(images: Dataset) -> None:
    by_class = images.subset(images.labels.argsort()[:97])
    model = make_network()
    seen: list[torch.Tensor] = []
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    reestimate_batch_norm(model, by_class, 32, "cpu", seed=3)
    assert [len(batch) for batch in seen] == [32, 32, 33]
    in_order = next(iter(by_class.batches(32, "cpu")))[0]
    assert not torch.equal(seen[0], in_order)


def test_a_network_without_batch_norm_stays_as_it_is(images: Dataset) -> None:
    model = make_network(norm="group", dropout=0.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    reestimate_batch_norm(model, images, 32, "cpu", seed=3)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_dropout_is_the_same_every_time(images: Dataset) -> None:
    states = []
    for seed in (0, 1):
        model = make_network(dropout=0.5)
        torch.manual_seed(seed)
        reestimate_batch_norm(model, images, 32, "cpu", seed=3)
        states.append(model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
