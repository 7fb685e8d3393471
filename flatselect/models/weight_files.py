"""Weights from files of many makers, read without running any code that a file might hold."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flatselect.errors import CheckpointError
from flatselect.models.exported_programs import is_exported_program, read_exported_weights, read_extra_file
from flatselect.models.model_document import DOCUMENT_KEY, parse_document

_NESTED_UNDER = ("state_dict", "model_state_dict", "model", "net")
_SAVE_INSTEAD = "save its weights alone: torch.save(model.state_dict(), 'weights.pt')"
_EXPECTED = (
    "expected weights: a state_dict saved by torch.save (also under "
    f"{', '.join(_NESTED_UNDER)}), .safetensors, or a torch.export program (.pt2)"
)
_MOST_NAMED = 3
IN_FOLDER = "model.safetensors"


@dataclass(frozen=True)
class WeightFile:
    """What a checkpoint holds.

    Attributes:
        weights: Tensors by name, on the CPU, names as they stand in the file.
        content: The other entries of the file where the weights were nested in it, what `flatselect export` says of a
            model in a safetensors file or a program, else empty.
    """

    weights: dict[str, Tensor]
    content: dict[str, Any]


def find_weight_file(path: str | Path) -> Path:
    """The file that is meant: of a folder that `flatselect export` wrote, its weights; else the path itself."""
    inside = Path(path, IN_FOLDER)
    return inside if inside.is_file() else Path(path)


def read_weight_file(path: str | Path) -> WeightFile:
    """Reads a state_dict, alone or nested, a safetensors file or the weights of a torch.export program.

    Pickles are read with `weights_only=True` and nothing else.

    Raises:
        CheckpointError: The file is missing, a folder, truncated, holds Python objects or no weights, or safetensors
            is needed and not installed.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path}: a folder, not a file; {_EXPECTED}")
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; {_EXPECTED}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {_EXPECTED}") from None
    if not start:
        raise CheckpointError(f"{path}: an empty file; was its writing interrupted? {_EXPECTED}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix == ".onnx":
        raise CheckpointError(
            f"{path}: an ONNX graph, of which only ONNX runtimes know what it computes; give the weights that it was "
            f"made of; {_EXPECTED}"
        )
    if start == b"PK\x03\x04":
        if not zipfile.is_zipfile(path):
            raise CheckpointError(f"{path}: truncated: its end is missing; copy or save it again")
        try:
            with zipfile.ZipFile(path) as archive:
                if is_exported_program(archive):
                    return _read_program(archive, path)
                is_torchscript = any(name.endswith("/constants.pkl") for name in archive.namelist())
        except CheckpointError:
            raise
        except pickle.UnpicklingError as error:
            raise _refuse_objects(path, str(error)) from None
        except Exception as error:  # a damaged archive fails in as many ways as there are readers
            raise CheckpointError(
                f"{path}: a damaged torch.export program, or one of another kind ({error}); {_SAVE_INSTEAD}"
            ) from error
        if is_torchscript:
            raise CheckpointError(f"{path}: a TorchScript program, which is code and is not run; {_SAVE_INSTEAD}")
    return _find_weights(_read_pickle(path), path)


def _read_program(archive: zipfile.ZipFile, path: Path) -> WeightFile:
    weights = _check_tensors(read_exported_weights(archive), path)
    document = read_extra_file(archive, f"{DOCUMENT_KEY}.json")
    if document is None:
        return WeightFile(weights, {})
    content = parse_document(document)
    prefix = str(content.get("weights_prefix", ""))
    return WeightFile({name.removeprefix(prefix): tensor for name, tensor in weights.items()}, content)


def _read_safetensors(path: Path) -> WeightFile:
    try:
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("safetensors"):
            raise
        raise CheckpointError(
            f"{path}: reading it needs safetensors, which is not installed: pip install 'flatselect[safetensors]'"
        ) from None
    try:
        weights = _check_tensors(load_file(path), path)
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: truncated, or not a safetensors file ({error}); copy or save it again"
        ) from None
    if DOCUMENT_KEY not in metadata:
        return WeightFile(weights, {})
    try:
        return WeightFile(weights, parse_document(metadata[DOCUMENT_KEY]))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it then refuses: pickles of another protocol
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refuse_objects(path, str(error)) from None
    except Exception as error:  # torch says in many ways that a file is not what it should be
        # Only these two say it in words.
        is_readable = isinstance(error, RuntimeError | OSError) and str(error)
        reason = f" ({str(error).splitlines()[0].partition('. This is an internal')[0]})" if is_readable else ""
        raise CheckpointError(f"{path}: truncated or not a checkpoint{reason}; {_EXPECTED}") from error


def _refuse_objects(path: Path, reason: str) -> CheckpointError:
    """What to say of a pickle of more than tensors. torch's own text is left out: it says how to run it after all."""
    try:
        found = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # noqa: BLE001 - not a zip, or a damaged one: then torch's message names the first object
        found = []
    found = found or re.findall(r"(?:GLOBAL|class|function) ([\w.]+\.\w+)", reason)[:1]
    if any(name.startswith("torch.nn.modules.") for name in found):
        return CheckpointError(
            f"{path}: a whole pickled model, which can only be loaded by running code from the file, so it is not; "
            f"where it was made, {_SAVE_INSTEAD}"
        )
    if not found:
        with path.open("rb") as stream:
            is_pickle = stream.read(1) == pickle.PROTO
        what = "a pickle that torch.save did not write, or a damaged one; pickles can run code, so it is not loaded"
        return CheckpointError(
            f"{path}: {what}; where it was made, {_SAVE_INSTEAD}"
            if is_pickle
            else f"{path}: truncated or not a checkpoint; {_EXPECTED}"
        )
    named = ", ".join(found[:_MOST_NAMED]) + (f" and {len(found) - _MOST_NAMED} more" * (len(found) > _MOST_NAMED))
    return CheckpointError(
        f"{path}: holds Python objects ({named}), which can only be loaded by running code from the file, so they are "
        f"not; where it was made, {_SAVE_INSTEAD}"
    )


def _find_weights(content: object, path: Path) -> WeightFile:
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; {_EXPECTED}")
    for key in _NESTED_UNDER:
        if isinstance(content.get(key), Mapping):
            rest = {str(name): value for name, value in content.items() if name != key}
            return WeightFile(_check_tensors(content[key], path), rest)
    return WeightFile(_check_tensors(content, path), {})


def _check_tensors(content: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        names = ", ".join(map(str, list(content)[:5])) or "nothing"
        raise CheckpointError(f"{path}: holds no tensors (its entries: {names}); {_EXPECTED}")
    return tensors
