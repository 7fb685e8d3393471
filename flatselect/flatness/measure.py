"""Measuring a model's relative GAP flatness: the one call most users need."""

from collections.abc import Iterable, Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from flatselect.errors import DataError, UnsupportedHeadError
from flatselect.flatness.accumulation import GapFlatness
from flatselect.flatness.head import find_head
from flatselect.flatness.measurement import Measurement
from flatselect.flatness.model_state import (
    check_finite,
    find_device,
    find_dtype,
    undisturbed_evaluation,
    unwrap_compiled,
)
from flatselect.flatness.slopes import is_output_of_classifier, run_tail


def measure(
    model: nn.Module,
    data: Tensor | Iterable[object],
    *,
    layer: str | None = None,
    device: torch.device | str | None = None,
    per_image: bool = False,
    batch_size: int = 256,
) -> Measurement:
    """Measures relative GAP flatness of the last convolution, without labels, in about one forward pass.

    Relative flatness (Petzka et al. 2021, Definition 1) of the last convolution before the pooling, whose kernel rows
    are k_j ∈ R^d (arXiv 2603.09016): with H the Hessian in these weights of one image's cross-entropy,

        κ = Σ_jj' ⟨k_j, k_j'⟩ Tr H_jj',    mean over the images.

    The model is evaluated in eval mode and left as it was: modes, hooks, gradients, torch's random state. Values are
    computed in float64 for float64 models, else in float32, and summed over images in float64.

    Args:
        model: Any module that ends in convolution, pooling, linear classifier, with anything in between that acts
            within an image. Its output is the logits, or their softmax or log-softmax.
        data: Images (n_images, channels, height, width), or an iterable of such batches or of (images, labels)
            batches, whose labels are not looked at.
        layer: Another convolution that feeds the classifier, by name; default: the last (see `find_head`).
        device: Where the model must be; default: where it is. Images are moved there.
        per_image: Whether the result holds every image's value.
        batch_size: Images a forward pass, where `data` is one tensor.

    Raises:
        UnsupportedHeadError: The network's end is not covered; names the layer and the reason.
        NonFiniteError: A weight or an activation is NaN or infinite; names it.
        DataError: No images, or something that is not images.
        ModelError: The model is on another device, or cannot be differentiated through.
    """
    model = unwrap_compiled(model)
    place, dtype = find_device(model, device), find_dtype(model)
    with undisturbed_evaluation(model, place) as handles:
        batches = _iterate_images(data, batch_size)
        first = next(batches, None)
        if first is None:
            raise DataError("no images were given to measure flatness on; expected at least one")
        head = find_head(model, first, layer, place)
        total = GapFlatness(head)
        for images in chain([first], batches):
            batch = images.detach().to(place, dtype if images.is_floating_point() else None)
            if batch.is_inference() or head.overwrites_images:
                batch = batch.clone()
            tail = run_tail(model, head.convolution, head.classifier, batch, handles)
            total.update(tail)
            if not is_output_of_classifier(tail.output, tail.logits):
                raise UnsupportedHeadError(
                    f"the model's output is the output of {head.classifier_name!r} on some images only; expected a "
                    "network that ends in a linear classifier on all"
                )
        return total.compute(per_image=per_image)


def _iterate_images(data: Tensor | Iterable[object], batch_size: int) -> Iterator[Tensor]:
    """Yields the batches that hold images, labels dropped."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise DataError(f"batch_size={batch_size}; expected a whole number of at least 1")
    if isinstance(data, (tuple, list)) and len(data) == 2 and _are_labels(data[1]):
        data = [data]  # one (images, labels) batch
    try:
        batches = iter(torch.split(data, batch_size) if isinstance(data, Tensor) else data)
    except TypeError as error:
        raise DataError(
            f"the data is {type(data).__name__}; expected a tensor of images or an iterable of batches"
        ) from error
    for number, batch in enumerate(batches):
        images = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        if not isinstance(images, Tensor) or images.ndim != 4:
            given = f"shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise DataError(
                f"batch {number} of the data is {given}; expected a tensor of images (n_images, channels, height, "
                "width), or (images, labels); a Dataset of single images needs a DataLoader around it"
            )
        if len(images):
            check_finite(images, f"batch {number} of the images")
            yield images


def _are_labels(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim == 1
