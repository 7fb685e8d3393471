"""Checkpoints: written whole or not at all, read without running any code they might hold."""

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from flatselect.atomic_file import open_atomic
from flatselect.errors import CheckpointError

FORMAT_VERSION = 1


@dataclass(frozen=True)
class CheckpointFile:
    """What the database keeps of a checkpoint: where it is, of which epoch, and how to know it again."""

    path: str
    epoch: int
    sha256: str
    size: int


def save_checkpoint(path: Path, content: dict[str, Any], epoch: int) -> CheckpointFile:
    """Writes `content` to `path`, whole or not at all; its folder is made where it is missing.

    Raises:
        CheckpointError: The folder cannot be written (missing rights, a full disk).
    """
    try:
        with open_atomic(path, make_folders=True) as stream:
            torch.save({"format_version": FORMAT_VERSION, **content}, stream)
            size = stream.tell()
            # Of what was written here: once it is in its place, another attempt may put its own there.
            stream.seek(0)
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as a RuntimeError of its zip writer.
        raise CheckpointError(f"{path}: the checkpoint cannot be written ({error}); is the disk full?") from error
    return CheckpointFile(str(path), epoch, sha256, size)


def load_checkpoint(path: str | Path, *, map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint with `weights_only=True`.

    Raises:
        CheckpointError: It is missing, truncated, holds more than tensors and plain values, or is of a newer format.
    """
    path = Path(path)
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: not a checkpoint of tensors and plain values only: {error}") from error
    except Exception as error:
        raise CheckpointError(f"{path}: truncated or not a checkpoint ({error})") from error
    if not isinstance(content, dict) or "format_version" not in content:
        raise CheckpointError(f"{path}: not written by flatselect (no format_version)")
    if content["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format {content['format_version']}, this flatselect reads up to {FORMAT_VERSION}; update it"
        )
    return content


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
