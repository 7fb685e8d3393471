"""Relative GAP flatness as a penalty to train by: differentiable in every parameter of the model."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from flatselect.errors import DataError, UnsupportedHeadError
from flatselect.flatness.batch_statistics import BatchStatistics
from flatselect.flatness.head import Head, MeasuredLayer
from flatselect.flatness.matrix_products import multiply_channels, multiply_rows
from flatselect.flatness.model_state import find_device, find_dtype, run_model, undisturbed_evaluation, unwrap_compiled
from flatselect.flatness.patches import LayerGeometry, PatchProducts
from flatselect.flatness.separability import draw_feature_weights, find_tolerance, is_weighted
from flatselect.flatness.tail import choose_slope_factor, first_input, read_logits, refuse_derivative


def flatness_penalty(model: nn.Module, images: Tensor, head: Head) -> Tensor:
    """κ, the mean of relative GAP flatness over the images, with the graph of its derivatives.

    Relative Flatness Aware Minimization (Adilova et al. 2023) adds this number, times a strength, to the loss. In
    evaluation mode it is `measure(model, images).relative_gap_flatness`: with p = softmax(z), s_jp = ∂(P·h_j)/∂a_jp and
    u_j = (1/P) Σ_p s_jp x_p,

        κ = Σ_c p_c ‖T_c − T̄‖²,    T_c = Σ_j W_cj k_jᵀu_j ∈ R^(d×d),    T̄ = Σ_c p_c T_c

    (of several layers, the sum). Its gradient goes through the kernel k, the classifier W, the logits z, the layer's
    input x and, where the tail has parameters or is smooth, the slopes s. A kink's slope jumps where its unit switches
    on or off: κ jumps with it, and the gradient, which is that of either side, does not see it.

    The model runs in evaluation mode but for batch norms that are training: they normalise by the statistics of these
    images, as in the loss that the penalty is added to. κ is still defined image by image: slopes hold the statistics
    fixed, only the penalty's own gradient goes through them. By the running ones, which lag behind and would count as
    constants, the penalty trains another network than the loss does: with 0.003·κ on digits, one that is sure of one
    class in evaluation mode (score 0.10) beside one that is right in training mode (cross-entropy 0.03).
    So the penalty costs a forward pass of its own. Modes, hooks, buffers and torch's random state are put back.

    Args:
        model: The one that `head` was found in. Parts recomputed in the backward pass (activation checkpoints upstream
            of the head) must not depend on the mode, which is put back by then.
        images: (n_images, channels, height, width), on the model's device.
        head: By `find_head`.

    Returns:
        κ, a scalar; float64, as per-image values are summed in it, whatever the model computes in.

    Raises:
        UnsupportedHeadError: One of the head's layers does not run exactly once.
        ModelError: The model fails on the images, or its tail has no second derivative.
    """
    model = unwrap_compiled(model)
    if not isinstance(images, Tensor) or not len(images):
        given = f"a tensor of shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise DataError(f"the images are {given}; expected a tensor (n_images, channels, *size) of at least one image")
    batch = images.detach().to(dtype=find_dtype(model) if images.is_floating_point() else None)
    if head.overwrites_images:
        batch = batch.clone()
    trained_by_batch = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    place = find_device(model, None)
    with undisturbed_evaluation(model, place, freeze=False) as handles, torch.enable_grad():
        seen = [_watch(layer.module, handles) for layer in head.layers]
        classified = None if head.classifier is None else _watch(head.classifier, handles)
        statistics = BatchStatistics()
        statistics.use_in(trained_by_batch, [layer.module for layer in head.layers], handles)
        output = run_model(model, batch)
        names = [*(layer.name for layer in head.layers), head.classifier_name]
        for name, runs in zip(names, [*seen, *([classified] if classified else [])], strict=False):
            if len(runs) != 1:
                raise UnsupportedHeadError(
                    f"layer {name!r} ran {len(runs)} times in one forward pass; the flatness penalty needs one run"
                )
        if classified is None:
            features = logits = read_logits(output, head.gives_probabilities)
        else:
            features, logits = (tensor.flatten(1) for tensor in classified[0])
        if logits.shape[1] == 1:
            return logits.double().sum() * 0  # one class is certain: p(1 − p) = 0 everywhere
        rows = (
            torch.eye(logits.shape[1], device=place) if head.classifier is None else head.classifier.weight.flatten(1)
        )
        with statistics.held():
            of_layers = [
                _compute(layer, rows, *runs[0], features, logits) for layer, runs in zip(head.layers, seen, strict=True)
            ]
            return torch.stack(of_layers).sum(0).mean()


def _watch(module: nn.Module, handles: list[RemovableHandle]) -> list[tuple[Tensor, Tensor]]:
    """Collects, run by run, the layer's input and output with their graph; the model goes on with a copy of the output.

    Copies, as a residual may be added to the input in place, and an activation may work in place on the output.
    """
    runs: list[tuple[Tensor, Tensor]] = []

    def keep(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
        if not output.requires_grad:  # everything up to here is frozen; the tail is still differentiated in it
            output = output.detach().requires_grad_()
        runs.append((first_input(args, kwargs).clone(), output))
        return output.clone()

    handles.append(module.register_forward_hook(keep, with_kwargs=True))
    return runs


def _compute(
    layer: MeasuredLayer, head_rows: Tensor, given: Tensor, activations: Tensor, features: Tensor, logits: Tensor
) -> Tensor:
    """κ of one layer for every image, (n_images,) float64.

    Args:
        layer: With its channel map.
        head_rows: The classifier's weight W, (n_classes, n_features).
        given: Input x of the layer.
        activations: Its output a.
        features: Input h of the classifier, (n_images, n_features).
        logits: z, (n_images, n_classes).
    """
    geometry = LayerGeometry.of(layer.module)
    dtype = torch.float64 if activations.dtype == torch.float64 else torch.float32
    kernel = layer.module.weight.to(dtype).flatten(1)  # (J, d)
    kernel_gram = _Gram.apply(kernel)
    patches = PatchProducts(geometry, geometry.channels_first(given).to(dtype))
    deviations = _Deviations(logits)

    def differentiate(values: Tensor, cotangent: Tensor) -> Tensor:
        slopes = _differentiate(values, activations, cotangent.to(values.dtype))
        return geometry.channels_first(slopes).flatten(2).to(dtype)  # (n_images, J, P)

    if layer.channel_features is not None:
        n_positions = geometry.channels_first(activations)[0, 0].numel()
        factor = choose_slope_factor(n_positions, features.dtype)
        slopes = differentiate(features, torch.full_like(features, factor))
    if layer.channel_features is not None and _is_followed(layer, geometry, features, activations, slopes, factor):
        rows = head_rows.to(dtype).index_select(1, layer.channel_features)  # (n_classes, J)
        # A vector common to all rows cancels: taken out first, it cannot drown the differences.
        centered = deviations.of_rows(rows - rows.mean(0))
        squares = _contract(kernel_gram, centered, *patches.factorise(slopes))
        return deviations.average(squares.double() / factor**2)
    by_class = []
    for cotangent in deviations.iterate_cotangents():
        left, right = patches.factorise(differentiate(logits, cotangent))
        by_class.append((multiply_channels(kernel_gram, left) * right).sum((1, 2)))
    return deviations.average(torch.stack(by_class, 1).double())


def _is_followed(
    layer: MeasuredLayer, geometry: LayerGeometry, features: Tensor, activations: Tensor, slopes: Tensor, factor: int
) -> bool:
    """Whether, for these images too, each channel feeds the feature that it fed where the head was found.

    A gate that was shut there may be open here: then κ is what it is by class.

    Args:
        layer: With its channel map.
        geometry: Of the layer.
        features: h, (n_images, n_features).
        activations: The layer's output a.
        slopes: ∂(factor·h)/∂a, (n_images, J, P).
        factor: A number.
    """
    assert layer.channel_features is not None
    if int(layer.channel_features.max()) >= features.shape[1]:
        return False
    weights = draw_feature_weights(features)
    (found,) = torch.autograd.grad(features, activations, factor * weights.expand_as(features), retain_graph=True)
    of_channels = weights[layer.channel_features].to(slopes.dtype)
    found = geometry.channels_first(found).flatten(2).to(slopes.dtype)
    return is_weighted(found, slopes.detach(), of_channels, find_tolerance(features.dtype))


class _Gram(torch.autograd.Function):
    """X·Xᵀ of rows X, (J, d), whose derivative for a cotangent C is one product, (C + Cᵀ)·X; autograd takes two."""

    @staticmethod
    def forward(rows: Tensor) -> Tensor:
        return multiply_rows(rows, rows)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        context.save_for_backward(*inputs)

    @staticmethod
    def backward(context: Any, cotangent: Tensor) -> Tensor:
        (rows,) = context.saved_tensors
        return multiply_rows(cotangent + cotangent.mT, rows.mT)


class _Deviations:
    """Σ_c p_c ‖T_c − T̄‖², for T given class by class, as a differentiable function of the logits.

    With t the top class, s = 1 − p_t and q the other classes' probabilities given that it is not t:

        T_c − T̄ = (T_c − T_t) − s·D,    T_t − T̄ = −s·D,    D = Σ_c q_c T_c − T_t
        Σ_c p_c ‖T_c − T̄‖² = s·(Σ_{c≠t} q_c ‖T_c − T̄‖² + (1 − s)·s·‖D‖²)

    as in `SoftmaxSplit`: nothing cancels when the network is sure of itself. Weights stand beside the squares, not as
    roots inside them, since a root has no derivative at 0.
    """

    def __init__(self, logits: Tensor) -> None:
        """Splits softmax(logits), (n_images, n_classes), in float64; at least two classes."""
        z = logits.double()
        self._is_top = torch.zeros_like(z, dtype=torch.bool).scatter(1, z.detach().argmax(1, keepdim=True), True)
        z_others = z.masked_fill(self._is_top, -torch.inf)
        self._rest = (z_others.logsumexp(1) - z.logsumexp(1)).exp()  # s, (n_images,)
        self._others = z_others.softmax(1)  # q, 0 at the top

    def of_rows(self, rows: Tensor) -> Tensor:
        """T_c − T̄, and D for the top class, for T_c = rows[c]: (n_images, n_classes, J), in the type of the rows."""
        top = self._is_top.to(rows.dtype)
        # Products with q − e_t and e_t, not rows[t]: the derivative of picking rows adds in no fixed order.
        shift = (self._others.to(rows.dtype) - top) @ rows
        others = rows - (top @ rows + self._rest.to(rows.dtype)[:, None] * shift)[:, None]
        return torch.where(self._is_top[:, :, None], shift[:, None], others)

    def iterate_cotangents(self) -> Iterator[Tensor]:
        """e_c − p, and q − e_t for the top class t, for c = 0, 1, …: the weights of all T in that deviation."""
        top = self._is_top.double()
        shift = self._others - top
        probabilities = top + self._rest[:, None] * shift
        for label, one_hot in enumerate(torch.eye(top.shape[1], dtype=top.dtype, device=top.device)):
            yield torch.where(self._is_top[:, label, None], shift, one_hot - probabilities)

    def average(self, squares: Tensor) -> Tensor:
        """Σ_c p_c ‖T_c − T̄‖², (n_images,), from the squared norms of the deviations, (n_images, n_classes) float64."""
        rest = self._rest[:, None]
        weights = torch.where(self._is_top, (1 - rest) * rest, self._others)
        return self._rest * (weights * squares).sum(1)


def _differentiate(outputs: Tensor, activations: Tensor, cotangent: Tensor) -> Tensor:
    """∂⟨cotangent, outputs⟩/∂a, (n_images, J, H_out, W_out), with its own graph.

    Raises:
        ModelError: Something in the tail cannot be differentiated.
    """
    try:
        (slopes,) = torch.autograd.grad(outputs, activations, cotangent, create_graph=True)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise refuse_derivative("its last convolution and its classifier", error) from error
    return slopes


def _contract(kernel_gram: Tensor, factor: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """F_c (KKᵀ ∘ L·Rᵀ) F_cᵀ of every image and class, (n_images, n_classes).

    Args:
        kernel_gram: KKᵀ, (J, J).
        factor: F, (n_images, n_classes, J).
        left: L, (n_images, J, rank).
        right: R, (n_images, J, rank).
    """
    n_classes, rank = factor.shape[1], left.shape[2]
    # As in the closed form: few rows are cheaper spread over one large product than J×J numbers an image.
    if n_classes * rank <= n_classes + rank + 16:
        rows_left = factor[:, :, None] * left.mT[:, None]  # (n_images, n_classes, rank, J)
        rows_right = factor[:, :, None] * right.mT[:, None]
        products = multiply_rows(rows_left.flatten(0, 2), kernel_gram).view_as(rows_left)
        return (products * rows_right).sum((2, 3))
    pair_products = torch.bmm(left, right.mT) * kernel_gram
    return (torch.bmm(factor, pair_products) * factor).sum(2)
