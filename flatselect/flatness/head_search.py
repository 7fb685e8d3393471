"""Finding a network's head: the layers to measure, its classifier, and what lies between."""

import dataclasses
import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from flatselect.errors import FlatselectError, UnsupportedHeadError
from flatselect.flatness.front import Front, find_classifier, find_front
from flatselect.flatness.head import Head, MeasuredLayer
from flatselect.flatness.layer_calls import RecordedRun, check_call, check_own_output, check_rows, is_close, record_run
from flatselect.flatness.layer_choice import Wanted, check_layer, find_by_name, read_wanted, say_how_to_name
from flatselect.flatness.model_state import (
    check_weights_finite,
    find_device,
    find_dtype,
    run_model,
    undisturbed_evaluation,
    unwrap_compiled,
)
from flatselect.flatness.patches import Layer, LayerGeometry
from flatselect.flatness.separability import (
    check_derivatives,
    find_channel_features,
    find_exactness,
    perturb_activations,
)
from flatselect.flatness.tail import run_tail
from flatselect.flatness.tail_graph import name_operation

# At most as many are run under noise to find what lies between layer and output.
_PROBED_IMAGES = 6


def find_head(
    model: nn.Module,
    images: Tensor,
    layer: str | None = None,
    device: torch.device | str | None = None,
    *,
    layers: Literal["all"] | Sequence[str] | None = None,
) -> Head:
    """Finds the layers to measure and the classifier, by running the model on a few images.

    The classifier is the linear layer whose output is the model's. From its input the autograd graph is walked back to
    the convolutions met first (see `find_front`): the last convolution is the deepest of them. Convolutions beside it
    count too where they feed other features (concatenated branches: GoogLeNet, Inception) or are as deep (RepVGG); a
    projection shortcut, which skips convolutions and adds to the same features, does not, nor does a convolution that
    computes a gate (squeeze-and-excitation).

    Args:
        model: Any module; it is evaluated in eval mode and left as it was.
        images: A batch, (n_images, channels, *size); at most six images are used.
        layer: Another layer, by name: any convolution or linear layer.
        device: Where the model must be; default: where it is.
        layers: Several by name, or "all": every convolution and linear layer that can be measured.

    Raises:
        UnsupportedHeadError: Flatness does not cover this network or layer; names the layer and the reason.
        NonFiniteError: A weight or an output is NaN or infinite.
        ModelError: The model is on another device or cannot be differentiated.
    """
    model = unwrap_compiled(model)
    place = find_device(model, device)
    with undisturbed_evaluation(model, place) as handles:
        head, first_output = locate_head(model, images, layer, layers, place, handles)
        # Where there is a second image, the first was run alone, else beside a copy of its own.
        company = images[:2].detach().clone().to(place, find_dtype(model) if images.is_floating_point() else None)
        check_output_of_first_image(first_output, run_model(model, company))
        return head


def locate_head(
    model: nn.Module,
    images: Tensor,
    layer: str | None,
    layers: Literal["all"] | Sequence[str] | None,
    place: torch.device,
    handles: list[RemovableHandle],
) -> tuple[Head, object]:
    """`find_head` of an undisturbed model, and the model's output for the first image.

    It is for the caller to compare that with the same image's output in other company (`check_output_of_first_image`).
    """
    wanted = read_wanted(layer, layers)
    check_weights_finite(model)
    images = images[:_PROBED_IMAGES].detach().to(place, find_dtype(model) if images.is_floating_point() else None)
    first = images[:1]
    # The first image is run in other company than in the caller's batch. Alone costs half, but some models squeeze away
    # an axis of one image: what then fails is tried again.
    if wanted is None and len(images) > 1 and not torch.equal(images[0], images[1]):
        try:
            return _locate_head(model, first.clone(), images, wanted, handles)
        except FlatselectError:
            while handles:
                handles.pop().remove()
    # With a much fainter copy beside it, batch statistics are other than in the first image's own company, and than in
    # the given images'.
    return _locate_head(model, torch.cat([first, (first / 8).to(first.dtype)]), images, wanted, handles)


def _locate_head(
    model: nn.Module, batch: Tensor, images: Tensor, wanted: Wanted, handles: list[RemovableHandle]
) -> tuple[Head, object]:
    """`locate_head` by way of one batch, whose first image is that of the images."""
    first = images[:1]
    version = batch._version
    run = record_run(model, batch, handles)
    overwrites_images = batch._version != version
    classifier = find_classifier(run)
    if classifier is None and _is_made_by_sigmoid(run.output):
        raise _refuse_sigmoid(run.output)
    front = find_front(run, classifier, is_needed=wanted is None)
    refused: dict[str, str] = {}
    if wanted is None:
        chosen = list(front.depth)
    else:
        chosen, refused = find_by_name(model, run, wanted, len(batch))
    for name in chosen if wanted != "all" else ():  # of all, those that fail are left out already
        check_layer(model, run, name, len(batch), is_named=wanted is not None)
    if classifier is not None:
        try:
            check_call(model, classifier, len(batch))
        except UnsupportedHeadError:
            if wanted is None:
                raise
            classifier = None  # layers by name need none
    # Few positions show little of the noise: then each image is run under more of it.
    n_positions = min(call.n_positions for call in run.calls if call.name in chosen)
    n_times = 1 if n_positions >= 16 else 2
    # The first image under faint and under strong noise; between far layers lies more, which more images show.
    probe = torch.cat([first, first] * n_times + [images] * (n_times * (wanted is not None)))
    head = Head(
        (),
        classifier.name if classifier else "",
        classifier.module if classifier else None,  # type: ignore[arg-type]
        front.candidates,
        refused,
        overwrites_images,
        _count_graph_elements(run, chosen),
        False,
    )
    # For copies of the first image, what the recorded run has computed need not be computed again.
    with run.repeated(chosen, len(probe)) if wanted is None else nullcontext():
        head = _find_layers(model, head, chosen, front, probe, handles, wanted)
    if classifier is None and wanted is None:
        _check_output_is_logits(run.output, head)
    return head, run.output


def _find_layers(
    model: nn.Module,
    head: Head,
    names: Sequence[str],
    front: Front,
    images: Tensor,
    handles: list[RemovableHandle],
    wanted: Wanted,
) -> Head:
    """Runs the tail under noise and finds what each layer feeds.

    Args:
        model: Undisturbed.
        head: All but its layers, of which it says those refused so far.
        names: Of the layers to measure.
        front: Those that may have a closed form.
        images: A few, the first two the same.
        handles: Receives the hooks.
        wanted: What the user asked for; None for the last convolution.

    Returns:
        The head with its layers; where all were asked for, those that fail are refused. Whether the output is
        probabilities is told here, as under noise it is only if it always is.
    """
    modules: list[Layer] = [model.get_submodule(name) for name in names]  # type: ignore[misc]
    name_of: dict[nn.Module, str] = {module: name for name, module in zip(names, modules, strict=True)}
    refused = dict(head.refused)
    seen = slice(1 if wanted is None else None)  # of the last convolution all inputs are the first image's
    is_classifier_linear = True

    def refuse(name: str, error: UnsupportedHeadError) -> None:
        if wanted != "all":
            raise error
        refused.setdefault(name, str(error))

    def check(layer: nn.Module, given: Tensor, output: Tensor) -> None:
        nonlocal is_classifier_linear
        try:
            check_own_output(name_of.get(layer, head.classifier_name), layer, given[seen], output[seen])
        except UnsupportedHeadError as error:
            if layer is head.classifier and wanted is None:
                last = max(front.depth, key=lambda name: front.depth[name])
                raise UnsupportedHeadError(f"{error}; {say_how_to_name(last)}", last) from error
            is_classifier_linear &= layer is not head.classifier
            if layer in name_of:
                refuse(name_of[layer], error)

    tail = run_tail(model, modules, head.classifier, images, handles, perturb_activations, check)
    left = [name for name in names if name not in refused]
    if left and not is_classifier_linear:  # layers by name need none
        without = dataclasses.replace(head, classifier_name="", classifier=None, refused=refused)
        return _find_layers(model, without, left, front, images, handles, wanted)
    for name, module, calls in zip(names, modules, tail.calls, strict=True):
        rows = [len(call.output) for call in calls]
        if sum(rows) == len(images):  # in parts, which the batches to come may be too small for
            continue
        # As many rows as there were images in the recorded run may have been positions.
        try:
            check_rows(name, module, rows, len(images))
        except UnsupportedHeadError as error:
            if wanted != "all" or len(names) == 1:
                raise
            others = [other for other in names if other != name]
            without = dataclasses.replace(head, refused={**head.refused, name: str(error)})
            return _find_layers(model, without, others, front, images, handles, wanted)
    at_rest = check_derivatives(tail, names)
    for i in at_rest if len(names) > 1 else ():
        # By itself, as the noise of layers before it may not show what this one does.
        alone = run_tail(model, [modules[i]], head.classifier, images, handles, perturb_activations)
        try:
            check_derivatives(alone, [names[i]])
        except UnsupportedHeadError as error:
            refuse(names[i], error)
    measured: list[MeasuredLayer] = []
    for i, (name, module, exactness) in enumerate(zip(names, modules, find_exactness(tail), strict=True)):
        if name in refused:
            continue
        channel_features: Tensor | None = None
        if name in front.depth and len(tail.calls[i]) == 1 and tail.features.requires_grad:
            found = find_channel_features(tail, i, LayerGeometry.of(module))
            if isinstance(found, Tensor):
                channel_features = found
            elif found == "flattened" and wanted is None:
                raise UnsupportedHeadError(
                    f"the classifier takes {tail.features.shape[1]} features from the {module.weight.shape[0]} "
                    f"channels of {name!r}, several of each channel (a flattened map), where one a channel was "
                    f"expected: pool the map to 1×1 first; or {say_how_to_name(name)}"
                )
        shapes = tuple(call.input.shape[1:] for call in tail.calls[i])
        measured.append(MeasuredLayer(name, module, channel_features, exactness, shapes))
    if not measured:
        raise UnsupportedHeadError("no layer of this model can be measured: " + "; ".join(refused.values()))
    if wanted is None:
        measured = [layer for layer in measured if not _is_shortcut(layer, measured, front)]
    gives_probabilities = head.classifier is None and tail.logits is not tail.output
    return dataclasses.replace(head, layers=tuple(measured), refused=refused, gives_probabilities=gives_probabilities)


def _is_shortcut(layer: MeasuredLayer, layers: Sequence[MeasuredLayer], front: Front) -> bool:
    """Whether a deeper convolution feeds some of the same features.

    Where the tail mixes channels, all convolutions feed all features: then those do that are not concatenated.
    """

    def feeds_the_same(other: MeasuredLayer) -> bool:
        if layer.channel_features is None or other.channel_features is None:
            return frozenset((layer.name, other.name)) not in front.concatenated
        return bool(torch.isin(layer.channel_features, other.channel_features).any())

    return any(front.depth[other.name] > front.depth[layer.name] and feeds_the_same(other) for other in layers)


def _count_graph_elements(run: RecordedRun, names: Sequence[str]) -> int:
    begin = min(i for i, call in enumerate(run.calls) if call.name in names)
    # Beside each layer's output the graph holds its input, and those of norms and activations after it.
    return 4 * sum(math.prod(call.output_shape[1:]) for call in run.calls[begin:])


def check_output_of_first_image(output: object, in_other_company: object) -> None:
    """Refuses a model whose output for the first image of a batch changes with the others.

    Raises:
        UnsupportedHeadError: It does.
    """
    if not isinstance(output, Tensor) or not isinstance(in_other_company, Tensor):
        return
    # Batches of other sizes are computed in another order, which deep networks amplify.
    least_tolerance = {torch.float64: 1e-7, torch.float32: 1e-3}.get(output.dtype, 1e-2)
    if not is_close(in_other_company[:1], output[:1], least_tolerance=least_tolerance):
        raise UnsupportedHeadError(
            "the model's output for one image changes with the other images of its batch, or from run to run (a batch "
            "norm with track_running_stats=False, or dropout, in evaluation mode?): flatness is defined image by image"
        )


def _check_output_is_logits(output: object, head: Head) -> None:
    """A pooled convolution may be logits; what a sigmoid made of it is not."""
    assert isinstance(output, Tensor)
    is_within_one = not head.gives_probabilities and bool(((output >= 0) & (output <= 1)).all())
    if is_within_one and head.exactness == "gauss_newton":
        raise _refuse_sigmoid(output)


def _refuse_sigmoid(output: object) -> UnsupportedHeadError:
    assert isinstance(output, Tensor)
    return UnsupportedHeadError(
        f"the model's output, shape {tuple(output.shape)}, lies between 0 and 1 and is not a softmax (a sigmoid?); "
        "expected logits of a softmax: return what the last layer gives"
    )


def _is_made_by_sigmoid(output: object) -> bool:
    node = output.grad_fn if isinstance(output, Tensor) else None
    while node is not None and name_operation(node) in ("Alias", "Clone", "Squeeze", "UnsafeView", "View"):
        node = node.next_functions[0][0]
    return node is not None and name_operation(node) in ("Hardsigmoid", "Sigmoid")
