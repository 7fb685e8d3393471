"""One network that was trained elsewhere, measured with everything that a calibration may want to know."""

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from flatselect.assessment import Probe, assess
from flatselect.config import Extra
from flatselect.data.dataset import Dataset
from flatselect.data.splits import draw_stratified
from flatselect.errors import FlatselectError, ModelError, UnsupportedHeadError
from flatselect.flatness.model_state import check_weights_finite, undisturbed_evaluation
from flatselect.measures import LABEL_COMPANION_NAMES, SET_COMPANION_NAMES
from flatselect.measures.pixel_kernel import measure_pixel_kernel
from flatselect.records import EpochMeasurement

DEFAULT_PROBE_IMAGES = 1024
# Accuracy on as many is known to 0.004 at worst, and a pass over a million would take longer than all else.
MOST_TRAIN_IMAGES = 20_000
# For the kernel on pixels: with as many it takes a second or two. Read in batches, as large images would not all fit.
_MOST_KERNEL_IMAGES = 2000
_READ_AT_ONCE = 256
# One backward pass for each takes as long as hundreds of forward passes.
_MOST_CLASSES_BY_NAME = 100

Classes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Evidence:
    """The images that networks are measured on.

    Attributes:
        train_set: What the networks were trained on, or a sample of it by class.
        n_train_images: Images in the whole training set.
        probe: Some of them, on the device.
        unlabeled: Images from where the network will be used, normalised, on the device, (n_unlabeled, channels,
            height, width).
    """

    train_set: Dataset
    n_train_images: int
    probe: Probe
    unlabeled: Tensor | None = None

    @classmethod
    def draw(
        cls,
        train_set: Dataset,
        *,
        n_probe_images: int | None = None,
        unlabeled: Tensor | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> "Evidence":
        """Draws the probe, and a sample of a large training set: both functions of the set and the seed.

        Args:
            train_set: All that the networks were trained on.
            n_probe_images: All of them if there are no more; None for `DEFAULT_PROBE_IMAGES`.
            unlabeled: As above.
            seed: Of what is drawn.
            device: Where the networks are.
        """
        sample, n = train_set, len(train_set)
        if n > MOST_TRAIN_IMAGES:
            sample = train_set.subset(draw_stratified(train_set.labels, MOST_TRAIN_IMAGES, seed))
        probe = Probe.draw(train_set, n_probe_images or DEFAULT_PROBE_IMAGES, seed, device)
        return cls(sample, n, probe, None if unlabeled is None else unlabeled.to(device))


def measure_training_pixels(train_set: Dataset, seed: int) -> dict[str, float]:
    """`measure_pixel_kernel` of at most 2,000 training images, drawn by class: a function of the set and the seed.

    All networks that were trained on the set share it.
    """
    n_images = min(len(train_set), _MOST_KERNEL_IMAGES)
    some = train_set.subset(draw_stratified(train_set.labels, n_images, seed))
    return measure_pixel_kernel(some.batches(_READ_AT_ONCE, "cpu"), train_set.n_classes)


@dataclass(frozen=True)
class MeasuredNetwork:
    """What one network shows.

    Attributes:
        measurement: Of its one, last epoch.
        unlabeled_classes: What it takes each unlabelled image for, (n_unlabeled,); None where there are none.
        note: What a user should know of how it was measured.
        origin: The trial that trained it, `STUDY/NUMBER/FINGERPRINT` of its images, where an exported model says so.
    """

    measurement: EpochMeasurement
    unlabeled_classes: Classes | None = None
    note: str | None = None
    origin: str | None = None


def measure_network(
    model: nn.Module,
    evidence: Evidence,
    *,
    layer: str | None = None,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> MeasuredNetwork:
    """Measures a network as it is: all companions and extras of `assess`, in float32.

    A network whose end the closed form does not cover is measured at its last convolution by one backward pass a class,
    where there are few classes, with a note.

    Args:
        model: On `device`; left as it was.
        evidence: On `device`.
        layer: Which layer's flatness; default: the last convolution before the pooling.
        batch_size: Images a forward pass.
        device: Where the model is.

    Raises:
        ModelError: It does not give logits for the classes of the training set.
        UnsupportedHeadError: Its end is not covered, and no layer is known or there are too many classes.
        NonFiniteError: Its loss, a weight or an activation is NaN or infinite.
    """
    check_weights_finite(model)  # or the loss on the training images would be all that is said
    note = None
    # Not frozen, for its trainable parameters are counted.
    with undisturbed_evaluation(model, torch.device(device), freeze=False):
        n_classes = _count_logits(model, evidence)
        try:
            measurement = _assess(model, evidence, layer, batch_size, device)
        except UnsupportedHeadError as error:
            if layer is not None or error.layer is None or n_classes > _MOST_CLASSES_BY_NAME:
                raise
            measurement = _assess(model, evidence, error.layer, batch_size, device)
            note = f"measured at layer {error.layer} by name: the closed form does not cover how this network ends"
        classes = None if evidence.unlabeled is None else _predict_classes(model, evidence.unlabeled, batch_size)
    # Of a network that is only used, nothing may be trainable any more.
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    measurement = replace(measurement, n_train_images=evidence.n_train_images, n_parameters=n_parameters)
    return MeasuredNetwork(measurement, classes, note)


def _assess(
    model: nn.Module, evidence: Evidence, layer: str | None, batch_size: int, device: torch.device | str
) -> EpochMeasurement:
    return assess(
        model,
        evidence.train_set,
        evidence.probe,
        companions=(*SET_COMPANION_NAMES, *LABEL_COMPANION_NAMES),
        extras=get_args(Extra),
        unlabeled=evidence.unlabeled,
        layer=layer,
        batch_size=batch_size,
        device=device,
    )


def describe_failure(error: BaseException) -> str:
    """Why a network could not be measured, in words: our own errors as they are, others by name."""
    if isinstance(error, FlatselectError):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return f"out of memory on the device ({str(error).splitlines()[0]}); use fewer images a batch"
    if isinstance(error, SystemExit):  # a script that was imported, and ran
        return f"the code that builds it ended Python (exit code {error.code}); import nothing that runs by itself"
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _count_logits(model: nn.Module, evidence: Evidence) -> int:
    """Number of logits; raises ModelError where a label has none: on a GPU, its loss would end the process."""
    logits = model(evidence.probe.images[:1])
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"it returns {found} for one image; expected logits of shape (1, n_classes)")
    highest = int(evidence.train_set.labels.max())
    if highest >= logits.shape[1]:
        raise ModelError(
            f"it has {logits.shape[1]} outputs, but labels of the training images go up to {highest}; "
            "give the images that it was trained on"
        )
    return logits.shape[1]


def _predict_classes(model: nn.Module, images: Tensor, batch_size: int) -> Classes:
    classes = torch.cat([model(batch).argmax(1) for batch in images.split(batch_size)])
    return classes.to(torch.int32).cpu().numpy()
