"""`flatselect.rank`: networks in memory, in the order of the test scores that they can be expected to have."""

import copy
import os
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.data.dataset import Dataset
from flatselect.errors import DataError, ModelError
from flatselect.flatness.model_state import find_device, find_dtype
from flatselect.selection.calibrator import choose_calibrator
from flatselect.selection.collecting import collect_images, collect_labelled
from flatselect.selection.measuring import (
    DEFAULT_PROBE_IMAGES,
    Evidence,
    MeasuredNetwork,
    describe_failure,
    measure_network,
    measure_training_pixels,
)
from flatselect.selection.result import Ranking, rank_measured

Models = Mapping[str, nn.Module] | Iterable[nn.Module] | Iterable[tuple[str, nn.Module]]


def rank(
    models: Models,
    data: Dataset | tuple[Tensor, Tensor] | Iterable[object],
    *,
    calibrator: GapPredictor | str | os.PathLike[str] | None = None,
    unlabeled: Tensor | Dataset | Iterable[object] | None = None,
    n_probe_images: int | None = None,
    seed: int = 0,
    layer: str | None = None,
    batch_size: int = 256,
) -> Ranking:
    """Ranks trained networks by the test score that they can be expected to have, without held-out images.

    What `flatselect rank` does with checkpoints. A network that cannot be measured is listed last with its error, and
    the others are ranked. Networks are measured where they are and left as they were; one that is not float32, as a
    float32 copy.

    Args:
        models: By name, or in a sequence, of networks or of (name, network); without names they are "0", "1", ....
        data: The labelled images that the networks were trained on, normalised as they take them, not augmented: a
            pair of tensors (images, labels), an iterable of such batches (a DataLoader), a torch Dataset of (image,
            label), or a set of `flatselect.data`. Taken into memory as a whole; of more than 20,000 images the
            training score is of a sample by class.
        calibrator: A GapPredictor, or the file of one; "none" for no predictions; None for the one that ships with the
            package.
        unlabeled: Images from where the network will be used, normalised likewise; labels are not looked at.
        n_probe_images: Training images to measure flatness and its companions on, drawn by class; default 1024.
        seed: Of what is drawn.
        layer: Which layer's flatness; default: the last convolution before the pooling.
        batch_size: Images a forward pass.

    Returns:
        The ranking: `.candidates` best first, `.calibrator`, `.to_json()`.

    Raises:
        ModelError: There are no networks, or two of one name.
        DataError: The data is not as above, or `n_probe_images` is less than 1.
        CalibrationError: The calibrator cannot be read.
    """
    named = _name_models(models)
    if n_probe_images is not None and n_probe_images < 1:
        raise DataError(f"n_probe_images = {n_probe_images}; expected at least 1, or None for {DEFAULT_PROBE_IMAGES}")
    chosen = choose_calibrator(calibrator)
    train_set = collect_labelled(data)
    images = None if unlabeled is None else collect_images(unlabeled, train_set)
    evidence_on: dict[torch.device, Evidence] = {}

    def measure(model: nn.Module) -> MeasuredNetwork | str:
        try:
            device = find_device(model, None)
            if device not in evidence_on:
                evidence_on[device] = Evidence.draw(
                    train_set, n_probe_images=n_probe_images, unlabeled=images, seed=seed, device=device
                )
            if find_dtype(model) is not torch.float32:
                model = copy.deepcopy(model).float()
            return measure_network(model, evidence_on[device], layer=layer, batch_size=batch_size, device=device)
        except Exception as error:  # noqa: BLE001 - whatever a network of the user's own raises is its own
            return describe_failure(error)

    networks = [(name, measure(model)) for name, model in named.items()]
    return rank_measured(networks, chosen, lambda: measure_training_pixels(train_set, seed))


def _name_models(models: Models) -> dict[str, nn.Module]:
    if isinstance(models, nn.Module):
        raise ModelError(f"models is one {type(models).__name__}; expected several, by name or in a list")
    given = list(models.items()) if isinstance(models, Mapping) else list(models)
    named: dict[str, nn.Module] = {}
    for number, item in enumerate(given):
        name, model = item if isinstance(item, tuple) else (number, item)
        if not isinstance(model, nn.Module):
            raise ModelError(f"model {name} is {type(model).__name__}; expected a torch.nn.Module")
        if str(name) in named:
            raise ModelError(f"two models are called {name!r}; expected a name of its own for each")
        named[str(name)] = model
    if not named:
        raise ModelError("there are no models to rank; give at least one")
    return named
