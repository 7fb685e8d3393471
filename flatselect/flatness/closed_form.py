"""Relative GAP flatness and trace in closed form, where the tail acts on each channel by itself."""

import torch
from torch import Tensor

from flatselect.flatness.patches import ConvolutionGeometry, PatchProducts
from flatselect.measures.softmax_split import SoftmaxSplit

# Numbers held at once while a batch is reduced: 64 MiB in float32.
_CHUNK_ELEMENTS = 2**24
# The same for J×J arrays on a CPU, which are read several times and should stay in its cache.
_CACHED_ELEMENTS = 2**19


def compute_closed_form(
    kernel_gram: Tensor,
    head_rows: Tensor,
    split: SoftmaxSplit,
    slopes: Tensor,
    geometry: ConvolutionGeometry,
    images: Tensor,
) -> tuple[Tensor, Tensor]:
    """κ and Tr H of every image.

    With s_jp = ∂(P·h_j)/∂a_jp, u_j = (1/P) Σ_p s_jp x_p and M = Cov_{c~p}(W_c·):

        κ    = Σ_jj' ⟨k_j, k_j'⟩ M_jj' ⟨u_j, u_j'⟩        (Petzka et al. 2021, Definition 1)
        Tr H = Σ_j M_jj ‖u_j‖²                             (arXiv 2603.09016, Theorem 1)

    Neither M nor H is formed: with A the factor M = AᵀA of `factor_covariance` and Q = U Uᵀ,
    κ = Σ_c A_c (KKᵀ ∘ Q) A_cᵀ.

    Args:
        kernel_gram: KKᵀ of the kernel rows k_j, (J, J).
        head_rows: The classifier's weight on each channel's feature, (n_classes, J).
        split: Of the logits.
        slopes: s, (n_images, J, P).
        geometry: Of the convolution.
        images: The convolution's input, (n_images, C_in, H, W).

    Returns:
        κ and Tr H, each (n_images,) float64.
    """
    n_images, n_channels, n_positions = slopes.shape
    n_classes = len(head_rows)
    flatness = torch.zeros(n_images, dtype=torch.float64, device=slopes.device)
    trace = torch.zeros_like(flatness)
    if n_classes == 1:
        return flatness, trace
    # A vector common to all rows cancels in M: taken out first, it cannot drown the differences.
    head_rows = (head_rows.double() - head_rows.double().mean(0)).to(slopes.dtype)
    n_elements = PatchProducts.n_elements(geometry, images) + 2 * n_classes * n_channels
    for chunk in iterate_chunks(n_images, n_elements):
        factor = factor_covariance(split[chunk], head_rows)
        left, right = PatchProducts(geometry, images[chunk]).factorise(slopes[chunk])
        squared_norms = (left * right).sum(2)  # Q_jj
        trace[chunk] = (factor.square().sum(1) * squared_norms).sum(1, dtype=torch.float64)
        flatness[chunk] = _contract(kernel_gram, factor, left, right)
    scale = split.rest / n_positions**2
    return (flatness * scale).clamp_min_(0), trace * scale


def _contract(kernel_gram: Tensor, factor: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Σ_c A_c (KKᵀ ∘ L·Rᵀ) A_cᵀ of every image, (n_images,) float64.

    Args:
        kernel_gram: KKᵀ, (J, J).
        factor: A, (n_images, n_classes, J).
        left: L, (n_images, J, rank).
        right: R, (n_images, J, rank).
    """
    (n_images, n_classes, n_channels), rank = factor.shape, left.shape[2]
    total = torch.empty(n_images, dtype=torch.float64, device=factor.device)
    # Reading and writing J×J numbers an image takes as long as some 16 multiplications each; below that it is quicker
    # to spread the rank over the rows of one large product: Σ_cr (A_c ∘ L_r) KKᵀ (A_c ∘ R_r)ᵀ.
    if n_classes * rank <= n_classes + rank + 16:
        for chunk in iterate_chunks(n_images, 3 * n_classes * rank * n_channels):
            rows_left = factor[chunk, :, None] * left[chunk].mT[:, None]  # (n_images, n_classes, rank, J)
            rows_right = factor[chunk, :, None] * right[chunk].mT[:, None]
            total[chunk] = ((rows_left @ kernel_gram) * rows_right).sum((1, 2, 3), dtype=torch.float64)
        return total
    n_held = _CACHED_ELEMENTS if factor.device.type == "cpu" else _CHUNK_ELEMENTS
    for chunk in iterate_chunks(n_images, n_channels**2, n_held):
        pair_products = torch.bmm(left[chunk], right[chunk].mT)
        pair_products *= kernel_gram
        total[chunk] = (torch.bmm(factor[chunk], pair_products) * factor[chunk]).sum((1, 2), dtype=torch.float64)
    return total


def factor_covariance(split: SoftmaxSplit, head_rows: Tensor) -> Tensor:
    """A with AᵀA = Cov_{c~p}(W_c)/s, s = 1 − p_top: (n_images, n_classes, J).

    A_c = √(p_c/s)·(W_c − W̄). Divided by s, it stays of the size of W however sure the network is; written from the top
    class, W_top − W̄ = −s·Σ_c q_c (W_c − W_top) does not cancel.
    """
    dtype = head_rows.dtype
    top_rows = head_rows[split.top]
    shift = split.others.to(dtype) @ head_rows - top_rows  # Σ_c q_c (W_c − W_top)
    mean_rows = top_rows + split.rest[:, None].to(dtype) * shift
    factor = split.others.sqrt().to(dtype)[:, :, None] * (head_rows - mean_rows[:, None])
    top_factor = (split.top_probability * split.rest).sqrt().to(dtype)[:, None] * shift
    factor[torch.arange(len(factor), device=factor.device), split.top] = -top_factor
    return factor


def iterate_chunks(n_images: int, n_elements: int, n_held: int = _CHUNK_ELEMENTS) -> list[slice]:
    """Cuts a batch so that about `n_held` numbers are held at once, `n_elements` an image, and at least one image."""
    size = max(1, n_held // max(1, n_elements))
    return [slice(start, min(start + size, n_images)) for start in range(0, n_images, size)]
