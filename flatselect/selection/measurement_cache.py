"""Measurements that were made before, by the content of all that they depend on."""

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from flatselect.atomic_file import open_atomic
from flatselect.records import EpochMeasurement
from flatselect.selection.measuring import Classes, MeasuredNetwork

# To be raised where the same network on the same images is measured otherwise, or kept in another form.
SCHEMA = 6
_PACKAGES = ("flatselect", "torch", "torchvision", "timm")


class MeasurementCache:
    """A folder of JSON files, one for each network or training set, named by the SHA-256 of what it depends on.

    What cannot be read counts as absent, and what cannot be written is not kept: the cache is never needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> MeasuredNetwork | None:
        """What was kept under the key; None if there is none, or a damaged one."""
        try:
            document = json.loads(self._path(key).read_bytes())
            classes = document["unlabeled_classes"]
            return MeasuredNetwork(
                EpochMeasurement.from_dict(document["measurement"]),
                None if classes is None else _unpack(classes),
                document["note"],
                document["origin"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zlib.error, RecursionError):
            return None

    def keep(self, key: str, measured: MeasuredNetwork) -> None:
        """Keeps a measurement, whole or not at all."""
        classes = measured.unlabeled_classes
        document = {
            "measurement": measured.measurement.to_dict(),
            "unlabeled_classes": None if classes is None else _pack(classes),
            "note": measured.note,
            "origin": measured.origin,
        }
        self._write(key, document)

    def find_companions(self, key: str) -> dict[str, float] | None:
        """Numbers that were kept under the key, by name; None if there are none, or damaged ones."""
        try:
            document = json.loads(self._path(key).read_bytes())
            return {str(name): float(value) for name, value in document["companions"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def keep_companions(self, key: str, companions: Mapping[str, float]) -> None:
        """Keeps numbers that all networks of one training set share."""
        self._write(key, {"companions": dict(companions)})

    def _write(self, key: str, document: Mapping[str, object]) -> None:
        text = json.dumps(document)  # Python's JSON, which knows NaN
        try:
            with open_atomic(self._path(key), make_folders=True) as stream:
                stream.write(text.encode())
        except OSError:  # a full disk, a home that cannot be written
            return

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def find_cache_folder() -> Path:
    """`measurements` in FLATSELECT_CACHE, else in `flatselect` of the user's cache folder (XDG_CACHE_HOME)."""
    if given := os.environ.get("FLATSELECT_CACHE"):
        return Path(given).expanduser() / "measurements"
    users = os.environ.get("XDG_CACHE_HOME")
    return (Path(users) if users else Path.home() / ".cache") / "flatselect" / "measurements"


def make_cache_key(parts: Mapping[str, Any]) -> str:
    """The SHA-256 of plain values, of the schema and of the versions of what measures."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    document = json.dumps({"schema": SCHEMA, "versions": versions, **parts}, sort_keys=True, default=repr)
    return hashlib.sha256(document.encode()).hexdigest()


def _pack(classes: Classes) -> str:
    return base64.b64encode(zlib.compress(classes.astype("<i4").tobytes())).decode()


def _unpack(text: str) -> Classes:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<i4").astype(np.int32)
