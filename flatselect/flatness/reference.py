"""Flatness by brute-force autograd: slow, small, float64, and sharing no formula with the fast path."""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flatselect.errors import ModelError, UnsupportedHeadError
from flatselect.flatness.head import find_head
from flatselect.flatness.model_state import find_device, unwrap_compiled

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
        layer = find_head(model, images).layer
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
    for i, image in enumerate(images):
        with torch.no_grad():
            logits = logits_of(weight, image)
        label = logits.argmax() if labels is None else labels[i].to(images.device)
        # Reverse over reverse: torch.func.hessian's forward mode asks more of every operation, and warns.
        hessian = torch.func.jacrev(torch.func.jacrev(loss_of))(weight, image, label).reshape(*rows.shape, *rows.shape)
        jacobian = torch.func.jacrev(logits_of)(weight, image).flatten(2)  # (C, J, d)
        p = logits.softmax(0)
        gauss_newton = torch.einsum("cjx,cb,bky->jxky", jacobian, p.diag() - p.outer(p), jacobian)
        for start, matrix in ((0, hessian), (2, gauss_newton)):
            block_traces = torch.einsum("jxkx->jk", matrix)
            sums[start] += (kernel_gram * block_traces).sum().item()
            sums[start + 1] += block_traces.trace().item()
    flatness, trace, gauss_newton_flatness, gauss_newton_trace = (total / len(images) for total in sums)
    return ReferenceFlatness(flatness, trace, gauss_newton_flatness, gauss_newton_trace, len(images), layer)
