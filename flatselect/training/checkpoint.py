"""Checkpoints: written whole or not at all, read without running any code they might hold."""

import hashlib
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from flatselect.errors import CheckpointError
from flatselect.file_location import is_url, open_whole, read_whole

FORMAT_VERSION = 1


@dataclass(frozen=True)
class CheckpointFile:
    """What the database keeps of a checkpoint: where it is, of which epoch, and how to know it again."""

    path: str
    epoch: int
    sha256: str
    size: int


def save_checkpoint(path: str | Path, content: dict[str, Any], epoch: int) -> CheckpointFile:
    """Writes `content` to a path or fsspec URL, whole or not at all; its folder is made where it is missing.

    Raises:
        CheckpointError: The folder cannot be written (missing rights, a full disk).
    """
    try:
        with open_whole(path, make_folders=True) as stream:
            torch.save({"format_version": FORMAT_VERSION, **content}, stream)
            size = stream.tell()
            # Of what was written here: once it is in its place, another attempt may put its own there.
            stream.seek(0)
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as a RuntimeError of its zip writer.
        hint = "" if is_url(str(path)) else "; is the disk full?"
        raise CheckpointError(f"{path}: the checkpoint cannot be written ({error}){hint}") from error
    return CheckpointFile(str(path), epoch, sha256, size)


def load_checkpoint(path: str | Path, *, map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint at a path or fsspec URL with `weights_only=True`.

    Raises:
        CheckpointError: It is missing, truncated, holds more than tensors and plain values, or is of a newer format.
    """
    try:
        file = io.BytesIO(read_whole(path)) if is_url(str(path)) else path
        content = torch.load(file, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: not a checkpoint of tensors and plain values only: {error}") from error
    except Exception as error:
        if is_url(str(path)) and isinstance(error, OSError):
            raise CheckpointError(f"{path}: cannot be read ({error})") from error
        raise CheckpointError(f"{path}: truncated or not a checkpoint ({error})") from error
    if not isinstance(content, dict) or "format_version" not in content:
        raise CheckpointError(f"{path}: not written by flatselect (no format_version)")
    if content["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format {content['format_version']}, this flatselect reads up to {FORMAT_VERSION}; update it"
        )
    return content


def hash_file(path: str | Path) -> str:
    """The SHA-256 of a file at a path or fsspec URL, hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    if is_url(str(path)):
        return hashlib.sha256(read_whole(path)).hexdigest()
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
