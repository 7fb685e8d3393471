"""Which checkpoints are to be ranked, and which network is in each: from arguments, folders and a manifest."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from flatselect.errors import CheckpointError, ConfigError
from flatselect.training.checkpoint import hash_file

SUFFIXES = (".pt", ".pth", ".safetensors", ".pt2", ".ckpt")
_MOST_NAMED = 3
_COLUMNS = ("path", "model", "args")
_EXPECTED = "expected a CSV file with the columns path,model,args, args a JSON object"


@dataclass(frozen=True)
class ListedCheckpoint:
    """A checkpoint and the network that it belongs to, as far as the user says.

    Attributes:
        path: As it was given.
        model_name: None: the file itself says it.
        model_args: Arguments of the network.
        error: What is wrong with it already, in words.
    """

    path: str
    model_name: str | None
    model_args: Mapping[str, Any]
    error: str | None = None

    @cached_property
    def sha256(self) -> str | None:
        """Of the file as it is when this is first asked for; None where it cannot be read."""
        try:
            return hash_file(Path(self.path))
        except OSError:
            return None


def list_checkpoints(
    arguments: Sequence[str], manifest: str | None, model_name: str | None, model_args: Mapping[str, Any]
) -> tuple[list[ListedCheckpoint], str | None]:
    """Every checkpoint that the arguments and the manifest name, once.

    Args:
        arguments: Files, and folders of which all checkpoints are taken, in the order of their names.
        manifest: A CSV file; what it says of a file that the arguments name too comes before what the options say.
        model_name: The network of those of which nothing else is said.
        model_args: Its arguments.

    Returns:
        The checkpoints, and a note if some were named twice.

    Raises:
        ConfigError: None are named, or the manifest is none.
    """
    rows = [] if manifest is None else read_manifest(Path(manifest), model_name, model_args)
    given = [ListedCheckpoint(path, model_name, model_args) for path in arguments]
    found: dict[Path, ListedCheckpoint] = {}
    repeated: dict[Path, str] = {}
    for listed in [*rows, *(file for entry in given for file in _open_folder(entry))]:
        place = Path(listed.path).resolve()
        if place not in found:
            found[place] = listed
        else:
            repeated[place] = listed.path
    if not found:
        named = f"{manifest}: holds no rows" if manifest else "no checkpoints are named"
        raise ConfigError(f"{named}; give files or folders, or --manifest FILE.csv")
    named = ", ".join(list(repeated.values())[:_MOST_NAMED]) + ", …" * (len(repeated) > _MOST_NAMED)
    return list(found.values()), f"named more than once, ranked once: {named}" if repeated else None


def read_manifest(path: Path, model_name: str | None, model_args: Mapping[str, Any]) -> list[ListedCheckpoint]:
    """Reads a manifest. Paths are relative to it; a row without a model is of the network that the options name.

    A row that is wrong becomes a checkpoint with an error.

    Raises:
        ConfigError: It cannot be read, or has no column `path`.
    """
    try:
        # Of spreadsheets, which put a mark of their encoding first.
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restkey="rest")
            rows = list(reader)
            columns = [name.strip() for name in reader.fieldnames or ()]
    except FileNotFoundError:
        raise ConfigError(f"--manifest {path}: no such file; {_EXPECTED}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"--manifest {path}: cannot be read ({error}); {_EXPECTED}") from None
    if "path" not in columns:
        raise ConfigError(f"--manifest {path}: its columns are {', '.join(columns) or 'none'}; {_EXPECTED}")
    listed = []
    for number, row in enumerate(rows, 2):
        values = {str(name).strip(): value for name, value in row.items()}
        file, model, args = ((values.get(name) or "").strip() for name in _COLUMNS)
        place = str(path.parent / file)
        if not file:
            listed.append(ListedCheckpoint(f"{path}:{number}", None, {}, error="this row has no path"))
        elif not model:
            listed.append(_with_args(ListedCheckpoint(place, model_name, model_args), args, f"{path}:{number}"))
        else:
            rest = "" if columns[-1] != "args" else "".join(f",{cell}" for cell in values.get("rest") or ())
            listed.append(_with_args(ListedCheckpoint(place, model, {}), args + rest, f"{path}:{number}"))
    return listed


def _with_args(listed: ListedCheckpoint, text: str, where: str) -> ListedCheckpoint:
    if not text:
        return listed
    try:
        args = json.loads(text)
    except ValueError:
        args = None
    if isinstance(args, dict):
        return replace(listed, model_args={**listed.model_args, **args})
    expected = 'expected a JSON object in quotes, such as "{""width"": 32}"'
    return replace(listed, error=f"{where}: args are {text}; {expected}")


def _open_folder(listed: ListedCheckpoint) -> list[ListedCheckpoint]:
    folder = Path(listed.path)
    if not folder.is_dir():
        return [listed]
    try:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read ({error.strerror})") from None
    if not files:
        return [replace(listed, error=f"a folder without checkpoints ({', '.join(f'*{s}' for s in SUFFIXES)})")]
    return [replace(listed, path=str(path)) for path in files]
