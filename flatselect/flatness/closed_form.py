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
# Rows or columns of a symmetric matrix formed at once.
_BLOCK_SIZE = 128


def compute_closed_form(
    kernel: Tensor,
    folded_gram: Tensor,
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
        folded_gram: KKᵀ by `make_folded_gram`, (J, J).
        head_rows: The classifier's weight on each channel's feature, less its mean row, (n_classes, J).
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
    scale = split.rest / n_positions**2
    squared_kernel_norms = folded_gram.diagonal()
    use_gram = False if values.input_channel is not None else None  # its blocks need U itself
    n_elements = PatchProducts.n_elements(geometry, images, use_gram=use_gram) + 2 * n_classes * n_channels
    for chunk in iterate_chunks(n_images, n_elements):
        factor = factor_covariance(split[chunk], head_rows)
        left, right = PatchProducts(geometry, images[chunk], use_gram=use_gram).factorise(slopes[chunk])
        traces = factor.square().sum(1) * (left * right).sum(2)  # Tr H_jj, (n_images, J)
        values.trace[chunk] = traces.sum(1, dtype=torch.float64)
        values.diagonal[chunk] = (traces * squared_kernel_norms).sum(1, dtype=torch.float64)
        values.flatness[chunk] = _contract(folded_gram, factor, left, right)
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


def _contract(folded_gram: Tensor, factor: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Σ_c A_c (KKᵀ ∘ L·Rᵀ) A_cᵀ of every image, (n_images,) float64.

    The J×J matrix in the middle is symmetric: of its blocks only those on and above the diagonal are formed.

    Args:
        folded_gram: KKᵀ by `make_folded_gram`, (J, J).
        factor: A, (n_images, rows, J).
        left: L, (n_images, J, rank).
        right: R, (n_images, J, rank), with L·Rᵀ symmetric.
    """
    (n_images, n_rows, n_channels), rank = factor.shape, left.shape[2]
    total = torch.zeros(n_images, dtype=torch.float64, device=factor.device)
    blocks = _cut(n_channels)
    # Reading and writing J×J numbers an image takes as long as some 24 multiplications each; below that it is quicker
    # to spread the rank over the rows of one large product: Σ_cr (A_c ∘ L_r) KKᵀ (A_c ∘ R_r)ᵀ.
    if n_rows * rank <= n_rows + rank + 24:
        for chunk in iterate_chunks(n_images, 3 * n_rows * rank * n_channels):
            rows_left, rows_right = (
                (factor[chunk, :, None] * side[chunk].mT[:, None]).flatten(0, 2) for side in (left, right)
            )
            products = torch.empty_like(rows_left)
            for block in blocks:
                above = slice(block.stop)
                torch.mm(rows_left[:, above], folded_gram[above, block], out=products[:, block])
            sums = torch.linalg.vecdot(products, rows_right)
            total[chunk] = sums.unflatten(0, (-1, n_rows * rank)).sum(1, dtype=torch.float64)
        return total
    n_held = _CACHED_ELEMENTS if factor.device.type == "cpu" else _CHUNK_ELEMENTS
    for chunk in iterate_chunks(n_images, n_channels**2, n_held):
        factors, lefts, rights = factor[chunk], left[chunk], right[chunk]
        for block in blocks:
            above = slice(block.stop)
            products = torch.bmm(lefts[:, above], rights[:, block].mT)
            products *= folded_gram[above, block]
            # The block of M = AᵀA: A times the products would be a few rows times a large matrix, which is slow.
            products *= torch.bmm(factors[..., above].mT, factors[..., block])
            total[chunk] += products.sum(2).sum(1, dtype=torch.float64)
    return total


def _cut(n_channels: int) -> list[slice]:
    """Blocks of a symmetric matrix's columns, as small as products are still fast."""
    size = max(_BLOCK_SIZE, -(-n_channels // 8))
    return [slice(start, min(start + size, n_channels)) for start in range(0, n_channels, size)]


def make_folded_gram(rows: Tensor) -> Tensor:
    """The Gram X·Xᵀ of rows with what is below the diagonal added to what is above, (J, J), upper triangular.

    ⟨X·Xᵀ, S⟩ of a symmetric S is the folded Gram's product with the upper half of S.
    """
    gram = rows.new_zeros(len(rows), len(rows))
    for block in _cut(len(rows)):
        above = slice(block.stop)
        torch.mm(rows[above], rows[block].mT, out=gram[above, block])
    gram.mul_(2).triu_().diagonal().div_(2)
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
    """A with AᵀA = Cov_{c~p}(W_c)/s, s = 1 − p_top: (n_images, n_classes − 1, J).

    With D = Σ_c q_c (W_c − W_top), the covariance is s·(Σ_c q_c (W_c − W_top)(W_c − W_top)ᵀ − s·D·Dᵀ), and A has a row
    for every class but the top one:

        A_c = √q_c·(W_c − W_top − (1 − √p_top)·D)

    Divided by s, it stays of the size of W however sure the network is; 1 − √p_top = s/(1 + √p_top) does not cancel.
    """
    dtype = head_rows.dtype
    classes = torch.arange(len(head_rows) - 1, device=head_rows.device)
    classes = classes + (classes >= split.top[:, None])  # all but the top one, (n_images, n_classes − 1)
    top_rows = head_rows[split.top]
    shift = (split.rest / (1 + split.top_probability.sqrt())).to(dtype)[:, None]
    center = torch.lerp(top_rows, split.others.to(dtype) @ head_rows, shift)  # W_top + (1 − √p_top)·D
    factor: Tensor = head_rows.index_select(0, classes.flatten()).unflatten(0, classes.shape)
    factor -= center[:, None]
    factor *= split.others.gather(1, classes).sqrt().to(dtype)[:, :, None]
    return factor


def iterate_chunks(n_images: int, n_elements: int, n_held: int = _CHUNK_ELEMENTS) -> list[slice]:
    """Cuts a batch so that about `n_held` numbers are held at once, `n_elements` an image, and at least one image."""
    return cut_in_chunks(n_images, n_elements, n_held)
