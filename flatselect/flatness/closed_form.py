"""Relative flatness and trace in closed form, where the tail acts on each channel by itself."""

import torch
from torch import Tensor

from flatselect.flatness.layer_values import LayerValues, Quantity
from flatselect.flatness.patches import LayerGeometry, PatchProducts
from flatselect.measures.chunks import iterate_chunks as cut_in_chunks
from flatselect.measures.softmax_split import SoftmaxSplit

# Numbers held at once while a batch is reduced: 64 MiB in float32.
_CHUNK_ELEMENTS = 2**24
# The same for J×J arrays on a CPU, which are read several times and should stay in its cache.
_CACHED_ELEMENTS = 2**19
# Rows of a symmetric matrix formed at once.
_BLOCK_ROWS = 256


def compute_closed_form(
    kernel: Tensor,
    kernel_gram: Tensor,
    head_rows: Tensor,
    split: SoftmaxSplit,
    slopes: Tensor,
    geometry: LayerGeometry,
    images: Tensor,
    quantities: frozenset[Quantity] = frozenset(),
) -> LayerValues:
    """κ and what goes with it, of every image.

    With s_jp = ∂(P·h_j)/∂a_jp, u_j = (1/P) Σ_p s_jp x_p and M = Cov_{c~p}(W_c·):

        κ    = Σ_jj' ⟨k_j, k_j'⟩ M_jj' ⟨u_j, u_j'⟩        (Petzka et al. 2021)
        Tr H = Σ_j M_jj ‖u_j‖²                             (arXiv 2603.09016, Theorem 1)

    Neither M nor H is formed: with A the factor M = AᵀA of `factor_covariance` and Q = U Uᵀ,
    κ = Σ_c A_c (KKᵀ ∘ Q) A_cᵀ. H = Σ_c g_c g_cᵀ with g_c the A_cj u_j on top of each other, so that its largest
    eigenvalue is that of the C×C Gram of the g_c.

    Args:
        kernel: K, rows k_j, (J, d).
        kernel_gram: KKᵀ, (J, J).
        head_rows: The classifier's weight on each channel's feature, (n_classes, J).
        split: Of the logits.
        slopes: s, (n_images, J, P).
        geometry: Of the layer.
        images: The layer's input, channels first, (n_images, C_in, *size).
        quantities: What is wanted beside flatness, trace and diagonal.
    """
    n_images, n_channels, n_positions = slopes.shape
    n_classes = len(head_rows)
    values = LayerValues.zeros(n_images, kernel, quantities)
    if n_classes == 1:
        return values
    # A vector common to all rows cancels in M: taken out first, it cannot drown the differences.
    head_rows = (head_rows.double() - head_rows.double().mean(0)).to(slopes.dtype)
    scale = split.rest / n_positions**2
    squared_kernel_norms = kernel_gram.diagonal()
    use_gram = False if values.input_channel is not None else None  # its blocks need U itself
    n_elements = PatchProducts.n_elements(geometry, images, use_gram=use_gram) + 2 * n_classes * n_channels
    for chunk in iterate_chunks(n_images, n_elements):
        factor = factor_covariance(split[chunk], head_rows)
        left, right = PatchProducts(geometry, images[chunk], use_gram=use_gram).factorise(slopes[chunk])
        traces = factor.square().sum(1) * (left * right).sum(2)  # Tr H_jj, (n_images, J)
        values.trace[chunk] = traces.sum(1, dtype=torch.float64)
        values.diagonal[chunk] = (traces * squared_kernel_norms).sum(1, dtype=torch.float64)
        values.flatness[chunk] = _contract(kernel_gram, factor, left, right)
        if values.input_channel is not None:
            values.input_channel[chunk] = _sum_input_channels(kernel, factor, left, geometry.n_offsets)
        if values.max_eigenvalue is not None:
            gram = (factor * (left * right).sum(2)[:, None]) @ factor.mT  # (n_images, n_classes, n_classes)
            values.max_eigenvalue[chunk] = torch.linalg.eigvalsh(gram.double())[:, -1] * squared_kernel_norms.sum()
        if values.block_traces is not None:
            for image in iterate_chunks(len(factor), n_channels**2):
                blocks = (factor[image].mT @ factor[image]) * (left[image] @ right[image].mT)
                values.block_traces += torch.einsum("n,njk->jk", scale[chunk][image], blocks.double())
    return values.scale(scale)


def _contract(kernel_gram: Tensor, factor: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Σ_c A_c (KKᵀ ∘ L·Rᵀ) A_cᵀ of every image, (n_images,) float64.

    The J×J matrix in the middle is symmetric: of its blocks only those on and above the diagonal are summed.

    Args:
        kernel_gram: KKᵀ, (J, J).
        factor: A, (n_images, n_classes, J).
        left: L, (n_images, J, rank).
        right: R, (n_images, J, rank), with L·Rᵀ symmetric.
    """
    (n_images, n_classes, n_channels), rank = factor.shape, left.shape[2]
    total = torch.zeros(n_images, dtype=torch.float64, device=factor.device)
    # Reading and writing J×J numbers an image takes as long as some 16 multiplications each; below that it is quicker
    # to spread the rank over the rows of one large product: Σ_cr (A_c ∘ L_r) KKᵀ (A_c ∘ R_r)ᵀ.
    if n_classes * rank <= n_classes + rank + 16:
        for chunk in iterate_chunks(n_images, 3 * n_classes * rank * n_channels):
            rows_left = factor[chunk, :, None] * left[chunk].mT[:, None]  # (n_images, n_classes, rank, J)
            rows_right = factor[chunk, :, None] * right[chunk].mT[:, None]
            for rows in _cut_rows(n_channels):
                columns, n_rows = slice(rows.start, None), rows.stop - rows.start
                products = rows_left[..., rows] @ kernel_gram[rows, columns]
                products *= rows_right[..., columns]
                total[chunk] += _sum_symmetric(products.flatten(1, 2), n_rows)
        return total
    n_held = _CACHED_ELEMENTS if factor.device.type == "cpu" else _CHUNK_ELEMENTS
    for chunk in iterate_chunks(n_images, n_channels**2, n_held):
        factors, lefts, rights = factor[chunk], left[chunk], right[chunk]
        for rows in _cut_rows(n_channels):
            columns, n_rows = slice(rows.start, None), rows.stop - rows.start
            products = torch.bmm(lefts[:, rows], rights[:, columns].mT)
            products *= kernel_gram[rows, columns]
            # The block of M = AᵀA: A times the products would be a few rows times a large matrix, which is slow.
            products *= torch.bmm(factors[..., rows].mT, factors[..., columns])
            total[chunk] += _sum_symmetric(products, n_rows)
    return total


def _sum_symmetric(products: Tensor, n_rows: int) -> Tensor:
    """The sum over rows of a symmetric matrix's block and over its mirror image, (n_images,) float64.

    Args:
        products: What is to be summed, (n_images, any, columns): from the block on the diagonal to the right.
        n_rows: Columns of the block on the diagonal.
    """
    on_diagonal = products[..., :n_rows].sum(2).sum(1, dtype=torch.float64)
    return on_diagonal + 2 * products[..., n_rows:].sum(2).sum(1, dtype=torch.float64)


def _cut_rows(n_rows: int) -> list[slice]:
    """Blocks of rows of a symmetric matrix, as small as products are still fast."""
    size = max(_BLOCK_ROWS, -(-n_rows // 8))
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def make_gram(rows: Tensor) -> Tensor:
    """The Gram X·Xᵀ of rows, (J, J), formed on and above the diagonal and mirrored."""
    gram = rows.new_empty(len(rows), len(rows))
    for block in _cut_rows(len(rows)):
        columns = slice(block.start, None)
        products = rows[block] @ rows[columns].mT
        gram[block, columns] = products
        gram[columns, block] = products.mT
    return gram


def _sum_input_channels(kernel: Tensor, factor: Tensor, pooled: Tensor, n_offsets: int) -> Tensor:
    """Σ_c Σ_i ‖Σ_j A_cj k_j^i u_j^iᵀ‖_F² over input channels i of every image, (n_images,) float64.

    Args:
        kernel: K, (J, d), d = input channels × offsets.
        factor: A, (n_images, n_classes, J).
        pooled: U, (n_images, J, d).
        n_offsets: Weights of one row on one input channel.
    """
    by_channel = kernel.unflatten(1, (-1, n_offsets))  # (J, C_in, offsets)
    pooled = pooled.unflatten(2, (-1, n_offsets))
    total = torch.zeros(len(factor), dtype=torch.float64, device=factor.device)
    for a in range(n_offsets):
        for b in range(n_offsets):
            entries = factor @ (by_channel[..., a] * pooled[..., b])  # (n_images, n_classes, C_in)
            total += entries.square().sum((1, 2), dtype=torch.float64)
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
    return cut_in_chunks(n_images, n_elements, n_held)
