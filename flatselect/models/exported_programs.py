"""The weights of a `torch.export` program (`.pt2`), read without torch.export.

`torch.export.load` is not used: for tensor subclasses and constants it calls `pickle.loads` and `torch.load` with
`weights_only=False`, which run code from the file (torch 2.15, torch/export/pt2_archive/_package.py). The archive is a
zip of raw bytes and JSON, and the weights are all that is wanted of it; what in it is pickled is read with
`weights_only=True` or refused.
"""

import io
import json
import math
import zipfile
from typing import Any

import torch
from torch import Tensor

_WEIGHTS_FOLDER = "data/weights/"
_CONFIG_SUFFIX = "_weights_config.json"
_EXTRA_FOLDERS = ("extra_files", "extra")  # before torch 2.7, and since
_LEGACY_MEMBER = "serialized_state_dict.pt"  # torch < 2.7
# torch/_export/serde/schema.py: ScalarType.
_DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip


def is_exported_program(archive: zipfile.ZipFile) -> bool:
    """Whether a zip file is what `torch.export.save` writes, by its members."""
    names = archive.namelist()
    return any(name.endswith("/archive_format") or name == _LEGACY_MEMBER for name in names)


def read_extra_file(archive: zipfile.ZipFile, name: str) -> bytes | None:
    """What `torch.export.save` was given as the extra file of that name; None if there is none."""
    for member in archive.namelist():
        if tuple(member.split("/")[-2:]) in [(folder, name) for folder in _EXTRA_FOLDERS]:
            return archive.read(member)
    return None


def read_exported_weights(archive: zipfile.ZipFile) -> dict[str, Tensor]:
    """The parameters and persistent buffers of the archive's one program, by their names in the model.

    Raises:
        ValueError: The archive holds no program or several, or a weight of a type that is not read.
        Exception: It is damaged, in one of the ways that JSON, zip and torch have for saying so.
    """
    names = archive.namelist()
    if _LEGACY_MEMBER in names:
        return _load_tensors(archive.read(_LEGACY_MEMBER))
    legacy = [name for name in names if f"/{_WEIGHTS_FOLDER}" in name and name.endswith(".pt")]
    configs = [name for name in names if f"/{_WEIGHTS_FOLDER}" in name and name.endswith(_CONFIG_SUFFIX)]
    if len(legacy) + len(configs) != 1:
        raise ValueError(f"it holds the weights of {len(legacy) + len(configs)} programs, expected one")
    if legacy:
        return _load_tensors(archive.read(legacy[0]))
    folder = configs[0].rpartition("/")[0]
    config: dict[str, dict[str, Any]] = json.loads(archive.read(configs[0]))["config"]
    return {
        name: _read_tensor(name, entry, archive.read(f"{folder}/{entry['path_name']}"))
        for name, entry in config.items()
    }


def _read_tensor(name: str, entry: dict[str, Any], content: bytes) -> Tensor:
    if entry["use_pickle"]:
        tensor: Tensor = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        return tensor
    meta = entry["tensor_meta"]
    if meta["dtype"] not in _DTYPES:
        raise ValueError(f"{name} has a type of number that is not read (ScalarType {meta['dtype']})")
    sizes, strides = ([number["as_int"] for number in meta[key]] for key in ("sizes", "strides"))
    if not content:
        if math.prod(sizes):
            raise ValueError(f"{name} has no bytes")
        return torch.empty(sizes, dtype=_DTYPES[meta["dtype"]])
    flat = torch.frombuffer(bytearray(content), dtype=_DTYPES[meta["dtype"]])
    # Raises where the numbers reach past the bytes.
    return torch.as_strided(flat, sizes, strides, meta["storage_offset"]["as_int"]).clone()


def _load_tensors(content: bytes) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    return tensors
