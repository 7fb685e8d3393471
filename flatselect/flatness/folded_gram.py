"""The Gram of a layer's kernel rows, cut so that products with symmetric matrices need only half of them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from flatselect.flatness.matrix_products import multiply_rows

# Columns of a block: products with fewer are slow.
_BLOCK_SIZE = 128


class FoldedGram:
    """The Gram G = X·Xᵀ of rows X, what is below its diagonal added to what is above.

    ⟨G, S⟩ of a symmetric S is the folded Gram's product with the upper half of S, and x·G·xᵀ is x·F·xᵀ with the folded
    F. It is kept in blocks of columns, each down to the diagonal, on its own in memory.

    Attributes:
        diagonal: Of G, (J,).
        block_size: Columns of a block; the last may have fewer.
    """

    def __init__(self, rows: Tensor):
        """Takes rows X, (J, d)."""
        self.block_size = size = max(_BLOCK_SIZE, -(-len(rows) // 8))
        self._blocks: list[tuple[slice, Tensor]] = []
        for start in range(0, len(rows), size):
            columns = slice(start, min(start + size, len(rows)))
            block = multiply_rows(rows[: columns.stop], rows[columns]).mT.contiguous()
            block.mul_(2).tril_(start).diagonal(start).div_(2)
            self._blocks.append((columns, block))
        self.diagonal = torch.cat([block.diagonal(columns.start) for columns, block in self._blocks])

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        """Slices of columns from `start` to `stop`, and these of the folded Gram, transposed: (columns, `stop`)."""
        return iter(self._blocks)

    def unfold(self) -> Tensor:
        """G itself, (J, J)."""
        gram = torch.diag(self.diagonal)
        for columns, block in self._blocks:
            half = block.tril(columns.start - 1) / 2
            gram[columns, : columns.stop] += half
            gram[: columns.stop, columns] += half.mT
        return gram
