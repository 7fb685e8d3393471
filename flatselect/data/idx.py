"""IDX files: the format of MNIST and its successors, plain or gzipped.

Two zero bytes, a byte for the type of the data (8: unsigned bytes), a byte for the number of dimensions, each
dimension as a big-endian 32-bit integer, then the data, last dimension fastest (http://yann.lecun.com/exdb/mnist/).
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from flatselect.errors import DataError

_UNSIGNED_BYTES = 0x08
_PART = 2**20


def read_idx(path: Path, n_dimensions: int) -> Tensor:
    """Reads an IDX file of unsigned bytes; a name ending in .gz is read compressed, in place.

    Returns:
        uint8, with the dimensions the file states.

    Raises:
        DataError: The file cannot be read, is not IDX, holds another type or number of dimensions, or is shorter or
            longer than its header says.
    """
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            shape = _read_header(stream, path, n_dimensions)
            n_bytes = math.prod(shape)
            content = bytearray()
            # In parts: a damaged header may promise more than memory holds.
            while len(content) <= n_bytes and (part := stream.read(_PART)):
                content += part
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); the file is damaged, fetch it again") from error
    if len(content) != n_bytes:
        found = f"{len(content)}" if len(content) < n_bytes else "more"
        raise DataError(
            f"{path}: its header says {' × '.join(map(str, shape))} = {n_bytes} bytes, found {found}; "
            "the file is damaged, fetch it again"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8).reshape(shape))


def _read_header(stream: IO[bytes], path: Path, n_dimensions: int) -> tuple[int, ...]:
    magic = stream.read(4)
    expected = bytes([0, 0, _UNSIGNED_BYTES, n_dimensions])
    if magic != expected:
        raise DataError(
            f"{path}: not an IDX file of unsigned bytes in {n_dimensions} dimensions: "
            f"starts with {magic.hex(' ') or 'nothing'}, expected {expected.hex(' ')}"
        )
    sizes = stream.read(4 * n_dimensions)
    if len(sizes) < 4 * n_dimensions:
        raise DataError(f"{path}: ends inside its header; the file is damaged, fetch it again")
    return struct.unpack(f">{n_dimensions}I", sizes)
