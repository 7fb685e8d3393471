"""All that is measured of a network on images it was trained on: what a calibration predicts its test gap from."""

import time
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flatselect.config import Extra
from flatselect.data.dataset import Dataset, gather_images
from flatselect.data.splits import draw_stratified
from flatselect.flatness.head import Head
from flatselect.flatness.measure import measure
from flatselect.flatness.model_state import undisturbed_evaluation
from flatselect.measures.perturbations import measure_perturbations
from flatselect.measures.unlabeled import measure_unlabeled
from flatselect.models.factories import count_parameters
from flatselect.records import EpochMeasurement
from flatselect.training.evaluation import evaluate


@dataclass(frozen=True)
class Probe:
    """Training images on which flatness and its companions are measured.

    Attributes:
        images: Normalised, (n_images, channels, height, width).
        labels: (n_images,).
    """

    images: Tensor
    labels: Tensor

    @classmethod
    def draw(cls, dataset: Dataset, n_images: int, seed: int, device: torch.device | str) -> "Probe":
        """Draws images by class, all of them if there are no more; a function of the set and the seed."""
        n_images = min(n_images, len(dataset))
        drawn = dataset.subset(draw_stratified(dataset.labels, n_images, seed))
        return cls(*gather_images(drawn, device))


def assess(
    model: nn.Module,
    train_set: Dataset,
    probe: Probe,
    *,
    epoch: int = 1,
    companions: Collection[str] = (),
    extras: Collection[Extra] = (),
    unlabeled: Tensor | None = None,
    layer: str | None = None,
    head: Head | None = None,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> EpochMeasurement:
    """Measures a network as it is: score and loss on all training images, flatness and companions on the probe.

    Args:
        model: On `device`; left as it was.
        train_set: All that the network was trained on.
        probe: Some of these images.
        epoch: Epochs trained.
        companions: More of the same forward pass, as in `measure`.
        extras: Companions that take forward passes of their own: see `measure_perturbations`.
        unlabeled: Images from where the network will be used, normalised like the others, for `measure_unlabeled`.
        layer: Which layer's flatness; default: the last convolution before the pooling.
        head: What `find_head` found for this model, in place of `layer`.
        batch_size: Images a forward pass.
        device: Where the model is.

    Raises:
        UnsupportedHeadError: The network's end is not covered.
        NonFiniteError: The loss, a weight or an activation is NaN or infinite.
    """
    started = time.perf_counter()
    training = evaluate(model, train_set, batch_size, device)
    images, labels = probe.images.split(batch_size), probe.labels.split(batch_size)
    flatness = measure(model, list(zip(images, labels, strict=True)), layer=layer, head=head, companions=companions)
    measured = {"n_classes": float(train_set.n_classes), **flatness.companions}
    with undisturbed_evaluation(model, torch.device(device)):
        if extras:
            measured |= measure_perturbations(model, probe.images, probe.labels, extras, batch_size=batch_size)
        if unlabeled is not None:
            logits = torch.cat([model(batch) for batch in unlabeled.split(batch_size)])
            of_training = torch.cat([model(batch) for batch in images])
            measured |= measure_unlabeled(logits, of_training, probe.labels)
    return EpochMeasurement(
        epoch=epoch,
        train_score=training.score,
        train_loss=training.loss,
        n_train_images=training.n_images,
        n_parameters=count_parameters(model),
        relative_gap_flatness=flatness.relative_gap_flatness,
        hessian_trace=flatness.hessian_trace,
        layer=flatness.layer,
        exactness=flatness.exactness,
        n_probe_images=flatness.n_images,
        flatness_standard_error=flatness.standard_error,
        companions=measured,
        measure_seconds=time.perf_counter() - started,
    )
