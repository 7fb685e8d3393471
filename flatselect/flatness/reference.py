"""Flatness by brute-force autograd: slow, small, float64, and sharing no formula with the fast path."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flatselect.errors import ModelError, UnsupportedHeadError
from flatselect.flatness.head_search import find_head
from flatselect.flatness.model_state import find_device, unwrap_compiled, without_backward_hooks

_MAX_BYTES = 1e9


@dataclass(frozen=True)
class ReferenceFlatness:
    """Means over the images, by autograd in float64.

    Attributes:
        relative_gap_flatness: Σ_jj' ⟨k_j, k_j'⟩ Tr H_jj' with H the full Hessian in the layer's weight.
        hessian_trace: Tr H.
        gauss_newton_flatness: The same with JᵀΛJ for H: equal where the tail is piecewise linear.
        gauss_newton_trace: Tr(JᵀΛJ).
        n_images: Images.
        layer: Name of the layer.
    """

    relative_gap_flatness: float
    hessian_trace: float
    gauss_newton_flatness: float
    gauss_newton_trace: float
    n_images: int
    layer: str


def reference_flatness(
    model: nn.Module, images: Tensor, labels: Tensor | None = None, layer: str | None = None
) -> ReferenceFlatness:
    """Forms the full Hessian of the cross-entropy in one layer's weight, image by image.

    Args:
        model: Any module whose output is the logits; a float64 copy of it is used, in eval mode.
        images: (n_images, channels, height, width), few.
        labels: (n_images,) integers; default: the model's own predictions. They change the Hessian only where the tail
            is smooth.
        layer: Name of any convolution or linear layer; default: the one that `measure` takes.

    Raises:
        ModelError: The Hessian would need more than a gigabyte, or the layer has no weight parameter.
        UnsupportedHeadError: No layer is given and none can be found.
    """
    model = copy.deepcopy(unwrap_compiled(model)).double()
    for module in model.modules():
        module.training = False
    images = images.detach().to(find_device(model, None), torch.float64)
    if layer is None:
        layer = _find_only_layer(model, images)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    tensors = {name: tensor.detach() for name, tensor in tensors.items()}
    weight_name = f"{layer}.weight" if layer else "weight"
    if weight_name not in tensors:
        raise ModelError(
            f"layer {layer!r} has no parameter 'weight'; expected the name of a convolution or linear layer"
        )
    weight = tensors.pop(weight_name)
    n_bytes = 4 * 8 * weight.numel() ** 2  # the Hessian, JᵀΛJ and what autograd holds beside them
    if n_bytes > _MAX_BYTES:
        raise ModelError(
            f"the Hessian in the {weight.numel()} weights of {layer!r} would need {n_bytes / 1e9:.1f} GB; brute force "
            "is for layers of up to 5,500 weights"
        )

    def logits_of(value: Tensor, image: Tensor) -> Tensor:
        output = torch.func.functional_call(model, {**tensors, weight_name: value}, (image[None],))
        if not isinstance(output, Tensor):
            raise UnsupportedHeadError(f"the model returns {type(output).__name__}, expected one tensor of logits")
        return output[0]

    def loss_of(value: Tensor, image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(logits_of(value, image), label)

    rows = weight.flatten(1)  # (J, d)
    kernel_gram = rows @ rows.mT
    sums = [0.0, 0.0, 0.0, 0.0]
    with without_backward_hooks(model.modules()):
        for i, image in enumerate(images):
            with torch.no_grad():
                logits = logits_of(weight, image)
            label = logits.argmax() if labels is None else labels[i].to(images.device)
            # Reverse over reverse: torch.func.hessian's forward mode asks more of every operation, and warns.
            hessian = torch.func.jacrev(torch.func.jacrev(loss_of))(weight, image, label).reshape(
                *rows.shape, *rows.shape
            )
            jacobian = torch.func.jacrev(logits_of)(weight, image).flatten(2)  # (C, J, d)
            p = logits.softmax(0)
            gauss_newton = torch.einsum("cjx,cb,bky->jxky", jacobian, p.diag() - p.outer(p), jacobian)
            for start, matrix in ((0, hessian), (2, gauss_newton)):
                block_traces = torch.einsum("jxkx->jk", matrix)
                sums[start] += (kernel_gram * block_traces).sum().item()
                sums[start + 1] += block_traces.trace().item()
    flatness, trace, gauss_newton_flatness, gauss_newton_trace = (total / len(images) for total in sums)
    return ReferenceFlatness(flatness, trace, gauss_newton_flatness, gauss_newton_trace, len(images), layer)


@dataclass(frozen=True)
class GradientFlatness:
    """Means over the images, by one backward pass for each class, in float64.

    Attributes:
        gauss_newton_flatness: Σ_jj' ⟨k_j, k_j'⟩ Tr G_jj' with G = JᵀΛJ, the Gauss-Newton part of the Hessian.
        gauss_newton_trace: Tr G.
        n_images: Images.
        layer: Name of the layer.
    """

    gauss_newton_flatness: float
    gauss_newton_trace: float
    n_images: int
    layer: str


def reference_by_gradients(
    model: nn.Module, images: Tensor, layer: str | None = None, report: Callable[[int, int], None] | None = None
) -> GradientFlatness:
    """Flatness from the gradient of every logit in one layer's weight: for layers too large for their Hessian.

    With T_c = ∂z_c/∂K (J, d), p the softmax and T̄ = Σ_c p_c T_c,

        κ = Σ_c p_c ‖Kᵀ(T_c − T̄)‖²_F,    Tr G = Σ_c p_c ‖T_c − T̄‖²_F.

    Both are taken relative to the likeliest class m, D_c = T_c − T_m, where Σ_c p_c ‖D_c‖² − ‖Σ_c p_c D_c‖² is the same
    number: one T_c at a time is held, and nothing cancels where p_m is close to 1.

    Args:
        model: Any module whose output is the logits, or their softmax or log-softmax; a float64 copy of it is used, in
            eval mode.
        images: (n_images, channels, height, width), few.
        layer: Name of any convolution or linear layer; default: the one that `measure` takes.
        report: Called after each backward pass with the passes done and the passes in all.

    Raises:
        ModelError: The layer has no weight parameter, or the output does not depend on it.
        UnsupportedHeadError: The model does not return one row of logits an image; or no layer is given and none can
            be found.
    """
    model = copy.deepcopy(unwrap_compiled(model)).double().requires_grad_(False)
    for module in model.modules():
        module.training = False
    images = images.detach().to(find_device(model, None), torch.float64)
    if layer is None:
        layer = _find_only_layer(model, images)
    weight = dict(model.named_parameters(remove_duplicate=False)).get(f"{layer}.weight" if layer else "weight")
    if weight is None:
        raise ModelError(
            f"layer {layer!r} has no parameter 'weight'; expected the name of a convolution or linear layer"
        )
    with torch.no_grad():
        model(images[:1].clone())  # which may bound the weight's norm
    weight.requires_grad_()
    rows = weight.detach().flatten(1)  # (J, d)
    # ⟨KKᵀT, T⟩ or ⟨KᵀT, KᵀT⟩, whichever matrix is the smaller.
    kernel_gram = rows @ rows.mT if rows.shape[0] < rows.shape[1] else None

    def weigh(gradient: Tensor) -> Tensor:
        """‖KᵀT‖² and ‖T‖²."""
        projected = (
            (rows.mT @ gradient).square().sum() if kernel_gram is None else (kernel_gram @ gradient * gradient).sum()
        )
        return torch.stack([projected, gradient.square().sum()])

    total = torch.zeros(2, dtype=torch.float64, device=images.device)
    with without_backward_hooks(model.modules()):
        for i, image in enumerate(images):
            with torch.enable_grad():
                logits = _to_logits(model(image[None].clone()))
            if not logits.requires_grad:
                raise ModelError(f"the model's output does not depend on the weight of layer {layer!r}")
            p = logits.detach().softmax(0)
            top = int(p.argmax())
            mean = torch.zeros_like(rows)
            for c, probability in enumerate(p.tolist()):
                if c != top and probability > 0:
                    (gradient,) = torch.autograd.grad(logits[c] - logits[top], weight, retain_graph=True)
                    difference = gradient.flatten(1)
                    total += probability * weigh(difference)
                    mean += probability * difference
                if report is not None:
                    report(i * len(p) + c + 1, len(images) * len(p))
            total -= weigh(mean)
    flatness, trace = (total / len(images)).tolist()
    return GradientFlatness(flatness, trace, len(images), layer)


def _find_only_layer(model: nn.Module, images: Tensor) -> str:
    names = [layer.name for layer in find_head(model, images).layers]
    if len(names) > 1:
        raise ModelError(f"{len(names)} layers are measured side by side; name one: layer= one of {', '.join(names)}")
    return names[0]


def _to_logits(output: object) -> Tensor:
    """The logits of one image, (n_classes,), up to a constant: the model's output, its logarithm if it is a softmax."""
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1:
        found = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise UnsupportedHeadError(f"the model returns {found} for one image; expected logits (1, n_classes)")
    values = output.detach()
    is_softmax = bool((values >= 0).all()) and abs(float(values.sum()) - 1) < 1e-12 * values.numel()
    # The bound keeps the gradient of a probability that underflowed to 0 from being NaN.
    return (output.clamp_min(torch.finfo(torch.float64).tiny).log() if is_softmax else output)[0]
