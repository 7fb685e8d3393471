"""Relative flatness of any layers by vector-Jacobian products, one a class, whatever lies after them."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from flatselect.errors import ModelError
from flatselect.flatness.closed_form import iterate_chunks
from flatselect.flatness.layer_values import LayerValues, Quantity
from flatselect.flatness.matrix_products import multiply_channels
from flatselect.flatness.patches import LayerGeometry, PatchProducts
from flatselect.flatness.tail import TailPass
from flatselect.measures.softmax_split import SoftmaxSplit

# Backward passes run as one, by the kind of device. On a CPU that gains nothing (0.8 s either way for a ResNet-18's ten
# classes) and takes the memory of all; a GPU waits for launches otherwise.
CLASSES_AT_ONCE = {"cpu": 1, "cuda": 8}
# Numbers of patches that are kept from class to class, in one layer: 256 MiB in float32; beyond, they are made again.
_KEPT_ELEMENTS = 2**26


class LayerJacobian:
    """Sums one layer's values over the classes.

    G_c = Σ_calls B_c X is the derivative of ⟨v_c, z⟩ in the layer's weight, B_c that in the layer's output. It is never
    formed where B_c (X Xᵀ) B_cᵀ is cheaper:

        κ = Σ_c Tr(KKᵀ G_c G_cᵀ),    Tr(JᵀΛJ) = Σ_c ‖G_c‖²
    """

    def __init__(
        self,
        kernel: Tensor,
        kernel_gram: Tensor,
        geometry: LayerGeometry,
        inputs: Sequence[Tensor],
        scale: Tensor,
        quantities: frozenset[Quantity],
    ):
        """Starts without classes.

        Args:
            kernel: K, rows k_j, (J, d).
            kernel_gram: KKᵀ, (J, J).
            geometry: Of the layer.
            inputs: Of every call of the layer, channels first, (n_images, C_in, *size).
            scale: What each image's values are multiplied by in the end, (n_images,).
            quantities: What is wanted beside flatness, trace and diagonal.
        """
        self._kernel, self._kernel_gram, self._geometry = kernel, kernel_gram, geometry
        self._inputs, self._scale = inputs, scale
        self._values = LayerValues.zeros(len(scale), kernel, quantities)
        # U itself is needed where calls are added up, and where its columns are told apart.
        self._use_gram = False if len(inputs) > 1 or self._values.input_channel is not None else None
        n_elements = sum(PatchProducts.n_elements(geometry, given, use_gram=self._use_gram) for given in inputs)
        self._chunks = iterate_chunks(len(scale), n_elements)
        self._kept: dict[int, list[PatchProducts]] = {}
        self._keeps = n_elements * len(scale) <= _KEPT_ELEMENTS
        self._gradients: list[tuple[list[Tensor], list[Tensor]]] = []

    def add_class(self, gradients: Sequence[Tensor]) -> None:
        """Adds one class.

        Args:
            gradients: B_c for every call, of the shape of the layer's output.
        """
        lefts, rights = [], []
        slopes = [self._geometry.channels_first(gradient).flatten(2) for gradient in gradients]
        for i, chunk in enumerate(self._chunks):
            products = self._kept.get(i) or [
                PatchProducts(self._geometry, given[chunk], use_gram=self._use_gram) for given in self._inputs
            ]
            if self._keeps:
                self._kept[i] = products
            parts = [slope[chunk].to(self._kernel.dtype) for slope in slopes]
            if len(parts) == 1:
                left, right = products[0].factorise(parts[0])
            else:
                pooled = [product.pool(part) for product, part in zip(products, parts, strict=True)]
                left = right = torch.stack(pooled).sum(0)
            self._add_chunk(chunk, left, right)
            lefts.append(left)
            rights.append(right)
        if self._values.max_eigenvalue is not None:
            self._gradients.append((lefts, rights))

    def _add_chunk(self, chunk: slice, left: Tensor, right: Tensor) -> None:
        values = self._values
        traces = (left * right).sum(2)  # ‖G_c,j‖², (n_images, J)
        values.trace[chunk] += traces.sum(1, dtype=torch.float64)
        values.diagonal[chunk] += (traces * self._kernel_gram.diagonal()).sum(1, dtype=torch.float64)
        values.flatness[chunk] += (multiply_channels(self._kernel_gram, left) * right).sum((1, 2), dtype=torch.float64)
        if values.input_channel is not None:
            by_channel = self._kernel.unflatten(1, (-1, self._geometry.n_offsets))
            blocks = torch.einsum("jia,njib->niab", by_channel, left.unflatten(2, (-1, self._geometry.n_offsets)))
            values.input_channel[chunk] += blocks.square().sum((1, 2, 3), dtype=torch.float64)
        if values.block_traces is not None:
            for image in iterate_chunks(len(left), len(self._kernel) ** 2):
                blocks = left[image] @ right[image].mT
                values.block_traces += torch.einsum("n,njk->jk", self._scale[chunk][image], blocks.double())

    def compute(self) -> LayerValues:
        """The values over all classes added."""
        if self._values.max_eigenvalue is not None and self._gradients:
            for i, chunk in enumerate(self._chunks):
                left = torch.stack([lefts[i].flatten(1) for lefts, _ in self._gradients], 1)
                right = torch.stack([rights[i].flatten(1) for _, rights in self._gradients], 1)
                gram = (left @ right.mT).double()  # ⟨G_c, G_c'⟩, (n_images, n_classes, n_classes)
                largest = torch.linalg.eigvalsh((gram + gram.mT) / 2)[:, -1]
                self._values.max_eigenvalue[chunk] = largest * self._kernel_gram.diagonal().sum()
        return self._values.scale(self._scale)


def add_classes(tail: TailPass, split: SoftmaxSplit, layers: Sequence[LayerJacobian | None]) -> None:
    """Adds every class to every layer, at the price of one backward pass a class for all layers together.

    Λ = Σ_c v_c v_cᵀ with v_c = √p_c (e_c − p): B_c = ∂⟨v_c, z⟩/∂a for each layer's output a.

    Args:
        tail: The pass.
        split: Of its logits.
        layers: For every layer of the tail; None for those that are not wanted.
    """
    if split.others.shape[1] == 1:
        return
    cotangents = (cotangent.to(tail.logits.dtype) for cotangent in iterate_cotangents(split))
    at_once = CLASSES_AT_ONCE.get(tail.logits.device.type, 1)
    while group := list(itertools.islice(cotangents, at_once)):
        for of_layers in _differentiate_group(tail, group):
            for layer, gradients in zip(layers, of_layers, strict=True):
                if layer is not None:
                    layer.add_class(gradients)


def _differentiate_group(tail: TailPass, cotangents: Sequence[Tensor]) -> Iterator[list[list[Tensor]]]:
    """The derivatives for one cotangent after the other, in one batched backward pass where the network allows it."""
    if len(cotangents) > 1:
        try:
            batched = tail.differentiate(tail.logits, torch.stack(list(cotangents)))
        except ModelError:  # a custom function that cannot be batched
            pass
        else:
            for i in range(len(cotangents)):
                yield [[gradient[i] for gradient in calls] for calls in batched]
            return
    for cotangent in cotangents:
        yield tail.differentiate(tail.logits, cotangent)


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
