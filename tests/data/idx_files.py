"""IDX files as the format's description has them, written without the reader's help."""

import gzip
import struct


def write_idx(path, array, dtype_code=8):
    content = bytes([0, 0, dtype_code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
