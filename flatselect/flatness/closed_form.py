"""Relative flatness and trace in closed form, where the tail acts on each channel by itself."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from flatselect.flatness.folded_gram import FoldedGram
from flatselect.flatness.layer_values import LayerValues, Quantity
from flatselect.flatness.matrix_products import multiply_rows
from flatselect.flatness.patches import LayerGeometry, PatchProducts
from flatselect.measures.chunks import iterate_chunks as cut_in_chunks
from flatselect.measures.softmax_split import SoftmaxSplit

# Numbers held at once while a batch is reduced: 64 MiB in float32.
_CHUNK_ELEMENTS = 2**24
# The same on a CPU, where they are read several times and should stay in its cache: of all arrays, and, for each
# thread, of J×J blocks, several images' of which meet one block of the Gram.
_CACHED_ELEMENTS = 2**20
_CACHED_BLOCK_ELEMENTS = 2**19


def compute_closed_form(
    kernel: Tensor,
    gram: FoldedGram,
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

    Neither M nor H is formed: with the factors M = Σ_c q_c Y_cᵀ Y_c of `CovarianceFactor` and Q = U Uᵀ,
    κ = Σ_c q_c Y_c (KKᵀ ∘ Q) Y_cᵀ. H = Σ_c g_c g_cᵀ with g_c the √q_c Y_cj u_j on top of each other, so that its
    largest eigenvalue is that of the C×C Gram of the g_c.

    Args:
        kernel: K, rows k_j, (J, d).
        gram: KKᵀ, (J, J).
        head_rows: The classifier's weight on each channel's feature, less its mean row, (n_classes, J).
        split: Of the logits.
        slopes: s, (n_images, J, P).
        geometry: Of the layer.
        images: The layer's input, channels first, (n_images, C_in, *size).
        quantities: What is wanted beside flatness, trace and diagonal.
    """
    n_images, n_channels, n_positions = slopes.shape
    values = LayerValues.zeros(n_images, kernel, quantities)
    if len(head_rows) == 1:
        return values
    scale = split.rest / n_positions**2
    use_gram = False if values.input_channel is not None else None  # its blocks need U itself
    traces: list[Tensor] = []  # Tr H_jj/scale, (n_images, J)
    forms: list[Tensor] = []  # Y_c (KKᵀ ∘ Q) Y_cᵀ, (n_images, n_classes − 1)
    all_weights: list[Tensor] = []
    for chunk, rows, weights, left, right in _iterate_factors(
        head_rows, split, slopes, geometry, images, use_gram=use_gram
    ):
        is_rank_one = left is right and left.shape[2] == 1
        if is_rank_one:  # Q = l·lᵀ goes into Y, where it leaves 1
            rows *= left.mT
            left = right = torch.ones_like(left)
        of_channels = torch.bmm(weights.to(rows.dtype)[:, None], rows.square())[:, 0]  # M_jj, (n_images, J)
        traces.append(of_channels if is_rank_one else of_channels * (left * right).sum(2))  # times ‖u_j‖²
        all_weights.append(weights)
        forms.append(_contract_rows(gram, rows, rows) if is_rank_one else _contract(gram, rows, left, right))
        if values.input_channel is not None or values.max_eigenvalue is not None or values.block_traces is not None:
            factor = rows * weights.sqrt().to(rows.dtype)[:, :, None]  # A with M = AᵀA
        if values.input_channel is not None:
            values.input_channel[chunk] = _sum_input_channels(kernel, factor, left, geometry.n_offsets)
        if values.max_eigenvalue is not None:
            squares = (left * right).sum(2)  # ‖u_j‖², (n_images, J)
            of_classes = (factor * squares[:, None]) @ factor.mT  # (n_images, n_classes − 1, n_classes − 1)
            values.max_eigenvalue[chunk] = torch.linalg.eigvalsh(of_classes.double())[:, -1] * gram.diagonal.sum()
        if values.block_traces is not None:
            for image in iterate_chunks(len(factor), n_channels**2):
                blocks = (factor[image].mT @ factor[image]) * (left[image] @ right[image].mT)
                values.block_traces += torch.einsum("n,njk->jk", scale[chunk][image], blocks.double())
    of_channels = torch.cat(traces)
    values.trace[:] = of_channels.sum(1)
    values.diagonal[:] = of_channels @ gram.diagonal
    values.flatness[:] = (torch.cat(all_weights) * torch.cat(forms)).sum(1)
    return values.scale(scale)


def _iterate_factors(
    head_rows: Tensor,
    split: SoftmaxSplit,
    slopes: Tensor,
    geometry: LayerGeometry,
    images: Tensor,
    *,
    use_gram: bool | None,
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor]]:
    """The factors Y and q of M, L and R of Q, of as many images at a time as fit, and which images these are.

    What is small is computed for many images at once: beside a small network's pass, calls cost more than numbers.
    """
    n_held = _CACHED_ELEMENTS if slopes.device.type == "cpu" else _CHUNK_ELEMENTS
    for chunk in iterate_chunks(len(slopes), PatchProducts.n_elements(geometry, images, use_gram=use_gram), n_held):
        factor = CovarianceFactor.of(split[chunk], head_rows)
        products = PatchProducts(geometry, images[chunk], use_gram=use_gram)
        left, right = products.factorise_evenly(slopes[chunk])
        for part in iterate_chunks(len(left), 2 * head_rows.numel(), n_held):
            left_part = left[part]
            right_part = left_part if left is right else right[part]
            of_all = slice(chunk.start + part.start, chunk.start + part.stop)
            yield of_all, factor.rows(part), factor.weights[part], left_part, right_part


def _contract(gram: FoldedGram, rows: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Y_c (KKᵀ ∘ L·Rᵀ) Y_cᵀ of every image and row, (n_images, n_rows) float64.

    The J×J matrix in the middle is symmetric: of its blocks only those on and above the diagonal are formed.

    Args:
        gram: KKᵀ, (J, J).
        rows: Y, (n_images, n_rows, J).
        left: L, (n_images, J, rank).
        right: R, (n_images, J, rank), with L·Rᵀ symmetric.
    """
    (n_images, n_rows, n_channels), rank = rows.shape, left.shape[2]
    total = torch.zeros((n_images, n_rows), dtype=torch.float64, device=rows.device)
    # Reading and writing J×J numbers an image takes as long as some 24 multiplications each; below that it is quicker
    # to spread the rank over the rows of one large product: Σ_r (Y_c ∘ L_r) KKᵀ (Y_c ∘ R_r)ᵀ.
    if n_rows * rank <= n_rows + rank + 24:
        for chunk in iterate_chunks(n_images, 2 * n_rows * rank * n_channels):
            of_rows = rows[chunk, :, None]
            spread = of_rows * left[chunk].mT[:, None]  # (n_images, n_rows, rank, J)
            other = spread if left is right else of_rows * right[chunk].mT[:, None]
            total[chunk] = _contract_rows(gram, spread, other).sum(2, dtype=torch.float64)
        return total
    n_held = _CHUNK_ELEMENTS
    if rows.device.type == "cpu":
        n_held = min(n_held, _CACHED_BLOCK_ELEMENTS * torch.get_num_threads())
    for chunk in iterate_chunks(n_images, n_channels * gram.block_size, n_held):
        for columns, block in gram:
            above = slice(columns.stop)
            products = torch.bmm(left[chunk, columns], right[chunk, above].mT)
            products *= block
            of_rows = torch.bmm(rows[chunk, :, columns], products)
            of_rows *= rows[chunk, :, above]
            total[chunk] += of_rows.sum(2, dtype=torch.float64)
    return total


def _contract_rows(gram: FoldedGram, left: Tensor, right: Tensor) -> Tensor:
    """l·KKᵀ·rᵀ of every row l of one array and r of the other, (…, J) each, where these sum up to a symmetric form."""
    rows, others = left.flatten(0, -2), right.flatten(0, -2)
    total = rows.new_zeros(len(rows))
    for columns, block in gram:
        products = multiply_rows(rows[:, : columns.stop], block)
        products *= others[:, columns]
        total += products.sum(1)
    return total.view(left.shape[:-1])


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


@dataclass(frozen=True)
class CovarianceFactor:
    """Y and q with Σ_c q_c Y_cᵀ Y_c = Cov_{c~p}(W_c)/s, s = 1 − p_top, where c are all classes but the top one.

    With D = Σ_c q_c (W_c − W_top), the covariance is s·(Σ_c q_c (W_c − W_top)(W_c − W_top)ᵀ − s·D·Dᵀ), and

        Y_c = W_c − W_top − (1 − √p_top)·D

    Divided by s, it stays of the size of W however sure the network is; 1 − √p_top = s/(1 + √p_top) does not cancel.

    Attributes:
        weights: q, (n_images, n_classes − 1) float64.
    """

    weights: Tensor
    _head_rows: Tensor
    _classes: Tensor  # all but the top one, (n_images, n_classes − 1)
    _centers: Tensor  # W_top + (1 − √p_top)·D, (n_images, J)

    @classmethod
    def of(cls, split: SoftmaxSplit, head_rows: Tensor) -> "CovarianceFactor":
        """Of images' probabilities and of the classifier's rows W, (n_classes, J)."""
        dtype = head_rows.dtype
        classes = torch.arange(len(head_rows) - 1, device=head_rows.device)
        classes = classes + (classes >= split.top[:, None])
        top_rows = head_rows.index_select(0, split.top)
        shift = (split.rest / (1 + split.top_probability.sqrt())).to(dtype)[:, None]
        centers = torch.lerp(top_rows, split.others.to(dtype) @ head_rows, shift)
        return cls(split.others.gather(1, classes), head_rows, classes, centers)

    def rows(self, images: slice) -> Tensor:
        """Y of some of the images, (n_images, n_classes − 1, J)."""
        classes = self._classes[images]
        rows: Tensor = self._head_rows.index_select(0, classes.flatten()).unflatten(0, classes.shape)
        rows -= self._centers[images, None]
        return rows


def iterate_chunks(n_images: int, n_elements: int, n_held: int = _CHUNK_ELEMENTS) -> list[slice]:
    """Cuts a batch so that about `n_held` numbers are held at once, `n_elements` an image, and at least one image."""
    return cut_in_chunks(n_images, n_elements, n_held)
