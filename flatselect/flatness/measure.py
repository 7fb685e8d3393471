"""Measuring a model's relative GAP flatness: the one call most users need."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn

from flatselect.errors import DataError, ModelError, UnsupportedHeadError
from flatselect.flatness.accumulation import GapFlatness, read_companions
from flatselect.flatness.batches import Batch, find_image_axes, iterate_batches
from flatselect.flatness.channels_last import ChannelsLast
from flatselect.flatness.head import Head
from flatselect.flatness.head_search import check_output_of_first_image, locate_head
from flatselect.flatness.input_spread import find_input_stds
from flatselect.flatness.layer_values import Quantity
from flatselect.flatness.measurement import Measurement
from flatselect.flatness.model_state import find_device, find_dtype, undisturbed_evaluation, unwrap_compiled
from flatselect.flatness.tail import is_output_of_classifier, run_tail
from flatselect.measures import LABEL_COMPANION_NAMES

# Numbers that the graphs of a deep tail may hold at once: 1 GiB in float32.
_GRAPH_ELEMENTS = 2**28
# Fewer images than that say little about their own standard error.
_LEAST_IMAGES_TO_STOP = 32


def measure(
    model: nn.Module,
    data: Tensor | Iterable[object],
    *,
    layer: str | None = None,
    layers: Literal["all"] | Sequence[str] | None = None,
    head: Head | None = None,
    device: torch.device | str | None = None,
    quantities: Collection[Quantity] = (),
    companions: Collection[str] = (),
    normalize_inputs: bool = False,
    relative_error: float | None = None,
    per_image: bool = False,
    batch_size: int = 256,
) -> Measurement:
    """Measures relative GAP flatness of the last convolution, without labels, in about one forward pass.

    Relative flatness (Petzka et al. 2021) of the last convolution before the pooling, whose kernel rows
    are k_j ∈ R^d (arXiv 2603.09016): with H the Hessian in these weights of one image's cross-entropy,

        κ = Σ_jj' ⟨k_j, k_j'⟩ Tr H_jj',    mean over the images.

    Where several convolutions feed the pooling side by side (GoogLeNet, Inception, RepVGG), κ is the sum over them, and
    each is reported. Any other layer, asked for by name, is measured as exactly, by one backward pass a class.

    The model is evaluated in eval mode and left as it was: modes, hooks, gradients, torch's random state. Values are
    computed in float64 for float64 models, else in float32, and summed over images in float64.

    Args:
        model: Any module that ends in convolution, pooling, linear classifier, with anything in between that acts
            within an image. Its output is the logits, or their softmax or log-softmax.
        data: Images (n_images, channels, *size), or an iterable of such batches or of (images, labels) batches, whose
            labels are not looked at unless a companion needs them. Batches may differ in the images' size.
        layer: Another convolution or linear layer, by name.
        layers: Several by name, or "all": every convolution and linear layer; the Measurement's own numbers are then
            sums over them.
        head: What `find_head` found for this model: saves finding it again. Weights may have changed since, as long as
            they connect the same channels (a gate that was 0 then hides what it gates).
        device: Where the model must be; default: where it is. Images are moved there.
        quantities: What to compute of each layer beside flatness, trace and their diagonal: "input_channel_flatness",
            "max_eigenvalue_flatness", "block_traces" (see `LayerFlatness`).
        companions: More companions than the usual: of `flatselect.measures.SET_COMPANION_NAMES`, and of
            `LABEL_COMPANION_NAMES` where the data is (images, labels) batches. They keep all features and logits.
        normalize_inputs: Divide each input channel of a layer by its standard deviation over the data, and multiply the
            kernel's weights on it by the same: the same function, and a κ that does not change when an input channel is
            rescaled against the kernel. The data is gone through twice.
        relative_error: Stop once the standard error of κ is at most this part of κ (from 32 images on); the images must
            come in random order. Default: all images.
        per_image: Whether the result holds every image's value.
        batch_size: Images a forward pass, where `data` is one tensor.

    Raises:
        UnsupportedHeadError: The network's end is not covered; names the layer and the reason.
        NonFiniteError: A weight or an activation is NaN or infinite; names it.
        DataError: No images, something that is not images, or no labels where they are needed.
        ModelError: The model is on another device, or cannot be differentiated through.
    """
    model = unwrap_compiled(model)
    place, dtype = find_device(model, device), find_dtype(model)
    if relative_error is not None and not (isinstance(relative_error, (int, float)) and relative_error > 0):
        raise DataError(f"relative_error={relative_error!r}; expected a positive number, such as 0.05")
    if normalize_inputs and isinstance(data, Iterator):
        raise DataError(
            f"normalize_inputs goes through the data twice, but {type(data).__name__} can be gone through once: give a "
            "tensor, a list of batches or a DataLoader"
        )
    n_axes = find_image_axes(model)
    companions = read_companions(companions)
    labelled = [name for name in LABEL_COMPANION_NAMES if name in companions]
    batches = iterate_batches(data, batch_size, n_axes, labelled)
    with undisturbed_evaluation(model, place) as handles:
        first = next(batches, None)
        if first is None:
            raise DataError("no images were given to measure flatness on; expected at least one")
        first_output: object = None
        if head is None:
            head, first_output = locate_head(model, first.images, layer, layers, place, handles)
        else:
            _check_head(model, head, layer, layers)

        def prepare(images: Tensor) -> Tensor:
            batch = images.detach().to(place, dtype if images.is_floating_point() else None)
            return batch.clone() if batch.is_inference() or head.overwrites_images else batch

        stds = None
        if normalize_inputs:
            all_images = (prepare(batch.images) for batch in iterate_batches(data, batch_size, n_axes))
            stds = find_input_stds(model, head, all_images, handles)
        total = GapFlatness(head, quantities, companions, stds)
        modules, probabilities = [found.module for found in head.layers], head.gives_probabilities
        run = partial(run_tail, model, modules, head.classifier, handles=handles, gives_probabilities=probabilities)
        order = ChannelsLast(model, handles)
        for batch in _cut(chain([first], batches), head):
            try:
                tail = run(order.lay_out(prepare(batch.images)))
            except ModelError:
                # It may want its maps contiguous (Tensor.view); if that is not why, it fails again.
                if not order.give_up():
                    raise
                tail = run(prepare(batch.images))
            check_output_of_first_image(first_output, tail.output)
            first_output = None
            total.update(tail, batch.labels)
            if head.classifier is not None and not is_output_of_classifier(tail.output, tail.logits):
                total.compute()  # NaN differs from itself: then that is what is said
                raise UnsupportedHeadError(
                    f"the model's output is the output of {head.classifier_name!r} on some images only; expected a "
                    "network that ends in a linear classifier on all"
                )
            has_enough = total.n_images >= _LEAST_IMAGES_TO_STOP
            if relative_error is not None and has_enough and total.relative_error() <= relative_error:
                break
        return total.compute(per_image=per_image)


def _check_head(model: nn.Module, head: Head, layer: str | None, layers: object) -> None:
    if layer is not None or layers is not None:
        raise ModelError("head was given together with layer or layers; expected one: a head says what is measured")
    if not isinstance(head, Head):
        raise ModelError(f"head is {type(head).__name__}; expected what flatselect.flatness.find_head returns")
    modules = dict(model.named_modules())
    for found in head.layers:
        if modules.get(found.name) is not found.module:
            raise ModelError(f"the head's layer {found.name!r} is not this model's: find the head of this very model")


def _cut(batches: Iterable[Batch], head: Head) -> Iterator[Batch]:
    """The batches, in smaller ones where the graph of a deep tail would take too much memory."""
    is_deep = any(layer.method == "class_jacobians" for layer in head.layers)
    largest = max(1, _GRAPH_ELEMENTS // max(1, head.n_graph_elements))
    for batch in batches:
        yield from batch.split(largest) if is_deep else (batch,)
