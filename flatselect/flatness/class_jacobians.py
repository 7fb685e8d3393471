"""Relative GAP flatness and trace by one vector-Jacobian product a class, for any tail."""

from collections.abc import Iterator

import torch
from torch import Tensor

from flatselect.flatness.closed_form import iterate_chunks
from flatselect.flatness.patches import ConvolutionGeometry, PatchProducts
from flatselect.measures.softmax_split import SoftmaxSplit


def compute_from_class_jacobians(
    kernel_gram: Tensor,
    split: SoftmaxSplit,
    logits: Tensor,
    activations: Tensor,
    geometry: ConvolutionGeometry,
    images: Tensor,
) -> tuple[Tensor, Tensor]:
    """κ and Tr(JᵀΛJ) of every image, for a tail that mixes channels.

    Λ = Σ_c v_c v_cᵀ with v_c = √p_c (e_c − p). B_c = ∂⟨v_c, z⟩/∂a by a vector-Jacobian product through the tail, and
    G_c = B_c X the derivative in the kernel, never formed where B_c (X Xᵀ) B_cᵀ is cheaper:

        κ = Σ_c Tr(KKᵀ G_c G_cᵀ),    Tr(JᵀΛJ) = Σ_c ‖G_c‖²

    Args:
        kernel_gram: KKᵀ, (J, J).
        split: Of the logits.
        logits: z, (n_images, n_classes), with the graph of the tail.
        activations: The convolution's output a that the graph starts from, (n_images, J, H_out, W_out).
        geometry: Of the convolution.
        images: The convolution's input, (n_images, C_in, H, W).

    Returns:
        κ and the trace, each (n_images,) float64.
    """
    n_images, n_classes = logits.shape
    flatness = torch.zeros(n_images, dtype=torch.float64, device=logits.device)
    trace = torch.zeros_like(flatness)
    if n_classes == 1:
        return flatness, trace
    chunks = iterate_chunks(n_images, PatchProducts.n_elements(geometry, images))
    products = [PatchProducts(geometry, images[chunk]) for chunk in chunks]
    for cotangent in iterate_cotangents(split):
        (slopes,) = torch.autograd.grad(logits, activations, cotangent.to(logits.dtype), retain_graph=True)
        slopes = slopes.flatten(2).to(images.dtype)
        for chunk, product in zip(chunks, products, strict=True):
            left, right = product.factorise(slopes[chunk])
            trace[chunk] += (left * right).sum((1, 2), dtype=torch.float64)
            flatness[chunk] += ((kernel_gram @ left) * right).sum((1, 2), dtype=torch.float64)
    return (flatness * split.rest).clamp_min_(0), trace * split.rest


def iterate_cotangents(split: SoftmaxSplit) -> Iterator[Tensor]:
    """v_c/√s for c = 0, 1, …, each (n_images, n_classes) float64, with s = 1 − p_top so that none vanishes.

    v_c/√s = √q_c (e_c − (1 − s) e_top − s·q) for c ≠ top, and √((1 − s)·s) (e_top − q) for c = top.
    """
    is_top = torch.zeros_like(split.others).scatter(1, split.top[:, None], 1)
    probabilities = split.top_probability[:, None] * is_top + split.rest[:, None] * split.others
    top_row = (split.top_probability * split.rest).sqrt()[:, None] * (is_top - split.others)
    for label in range(split.others.shape[1]):
        row = -split.others[:, label, None].sqrt() * probabilities
        row[:, label] += split.others[:, label].sqrt()
        yield torch.where((split.top == label)[:, None], top_row, row)
