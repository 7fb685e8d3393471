"""Images and labels from one .npz file."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flatselect.data.dataset import TensorDataset
from flatselect.errors import DataError

_EXPECTED = (
    "expected an .npz file with `images` (N×H×W, N×H×W×C or N×C×H×W, C = 1 or 3, uint8 or float) "
    "and `labels` (N integers from 0)"
)
Array = np.ndarray[Any, np.dtype[Any]]


def load_arrays(path: Path, *, labelled: bool = True) -> TensorDataset:
    """Reads `images` and `labels` from an .npz file.

    `images` is N×H×W (one channel), N×H×W×C or N×C×H×W: the last axis is taken for the channels where its length is 1
    or 3, else the second where its length is. uint8 is scaled to [0, 1] and normalised later, floats are taken as they
    are. `labels` holds N integers from 0; the classes' names are their numbers. Where not `labelled`, labels are not
    looked at: all images are of one class.

    Raises:
        DataError: The file cannot be read, or holds something else: what was found and what is expected.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            found = sorted(archive.files)
            missing = [key for key in ("images", "labels")[: 1 + labelled] if key not in found]
            if missing:
                raise DataError(f"{path}: no `{missing[0]}` among {', '.join(found) or 'nothing'}; {_EXPECTED}")
            images = archive["images"]
            labels = archive["labels"] if labelled else np.zeros(len(images), dtype=np.int64)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {_EXPECTED}") from None
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        # A lone array (.npy) has no keys and cannot be entered; pickled objects are refused with a ValueError.
        raise DataError(f"{path}: cannot be read ({error}); {_EXPECTED}") from error
    images, labels = _check_images(images, path), _check_labels(labels, path)
    if len(images) != len(labels):
        raise DataError(f"{path}: {len(images)} images but {len(labels)} labels; expected as many")
    class_names = tuple(str(label) for label in range(int(labels.max()) + 1))
    return TensorDataset(torch.from_numpy(images), torch.from_numpy(labels), class_names, name=f"arrays:{path}")


def _check_images(images: Array, path: Path) -> Array:
    """Images as N×C×H×W, uint8 or float32."""
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    elif images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(f"{path}: `images` has shape {_describe_shape(images)}; {_EXPECTED}")
    if images.size == 0:
        raise DataError(f"{path}: `images` has shape {_describe_shape(images)}, which holds nothing; {_EXPECTED}")
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind != "f":
        raise DataError(
            f"{path}: `images` is {images.dtype}; expected uint8 (0 to 255, normalised for you) or floats (as they are)"
        )
    with np.errstate(over="ignore"):
        images = np.ascontiguousarray(images, dtype=np.float32)
    broken = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if len(broken):
        raise DataError(f"{path}: {len(broken)} images hold NaN or infinity, first image {broken[0]}; remove them")
    return images


def _check_labels(labels: Array, path: Path) -> Array:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: `labels` is {labels.dtype} of shape {_describe_shape(labels)}; {_EXPECTED}")
    if len(labels) and labels.min() < 0:
        raise DataError(f"{path}: `labels` holds {labels.min()}; expected integers from 0")
    # A larger label is an identifier, not a class; refused before a list as long is made of it.
    if len(labels) and labels.max() > 1_000_000:
        raise DataError(f"{path}: `labels` holds {labels.max()}; expected classes numbered from 0")
    return labels.astype(np.int64)


def _describe_shape(array: Array) -> str:
    return "×".join(map(str, array.shape)) or "() (a single value)"
