"""Named public sets. IDX files are read in place, without torchvision; the others through torchvision."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flatselect.config import find_data_set
from flatselect.data.dataset import TensorDataset
from flatselect.data.digits import Part
from flatselect.data.idx import read_idx
from flatselect.errors import DataError

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
_DIGIT_NAMES = tuple("0123456789")


@dataclass(frozen=True)
class _NamedSet:
    """A set torchvision knows: its class there, and its classes' names if it comes as IDX files."""

    torchvision_name: str
    idx_class_names: tuple[str, ...] | None = None


_SETS = {
    named.torchvision_name: named
    for named in (
        _NamedSet(
            "FashionMNIST",
            ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        _NamedSet("MNIST", _DIGIT_NAMES),
        _NamedSet("KMNIST", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
        _NamedSet("CIFAR10"),
        _NamedSet("CIFAR100"),
        _NamedSet("SVHN"),
    )
}


def load_torchvision_set(name: str, part: Part, root: str | None, download: bool) -> TensorDataset:
    """Loads the training or the test part of FashionMNIST, MNIST, KMNIST, CIFAR10, CIFAR100 or SVHN.

    Args:
        name: Upper or lower case, with or without `-` and `_`.
        part: Which of the set's own two parts.
        root: Folder that holds the set as torchvision stores it; for IDX sets the files may also lie in it directly
            or in `raw`. None: ~/.cache/flatselect, and for FashionMNIST first where Debian's package puts it.
        download: Whether to fetch a missing set.

    Raises:
        DataError: Unknown name; or the set is missing or damaged: where it was looked for and how to get it.
    """
    named = _find_set(name)
    folder = Path(root).expanduser() if root else Path.home() / ".cache" / "flatselect"
    if named.idx_class_names is None:
        return _load_through_torchvision(named, part, folder, download)
    folders = [folder, folder / named.torchvision_name / "raw", folder / "raw"]
    if root is None and named.torchvision_name == "FashionMNIST":
        folders.insert(0, DEBIAN_FASHION_MNIST)
    files = _find_idx_files(folders, part)
    if files is None and download:
        _open_torchvision_set(named, part, folder, download=True)
        files = _find_idx_files(folders, part)
    if files is None:
        wanted = " and ".join(f"{stem}[.gz]" for stem in _idx_names(part))
        raise DataError(
            f"{named.torchvision_name} not found: looked for {wanted} in {', '.join(map(str, folders))}. "
            + _how_to_get(named, download)
        )
    return _read_idx_set(named, *files)


def _find_set(name: str) -> _NamedSet:
    known = find_data_set(name)
    if known not in _SETS:
        raise DataError(f"torchvision's set {name!r} is not known; expected one of {', '.join(_SETS)}")
    return _SETS[known]


def _idx_names(part: Part) -> tuple[str, str]:
    prefix = "train" if part == "train" else "t10k"
    return f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"


def _find_idx_files(folders: list[Path], part: Part) -> tuple[Path, Path] | None:
    """The images' and the labels' file, from the first folder that has both."""
    for folder in folders:
        found = [path for name in _idx_names(part) for path in [folder / name, folder / f"{name}.gz"] if path.is_file()]
        images = [path for path in found if "-images-" in path.name]
        labels = [path for path in found if "-labels-" in path.name]
        if images and labels:
            return images[0], labels[0]
    return None


def _read_idx_set(named: _NamedSet, images_file: Path, labels_file: Path) -> TensorDataset:
    assert named.idx_class_names is not None
    images = read_idx(images_file, 3)
    labels = read_idx(labels_file, 1).long()
    if len(images) != len(labels):
        raise DataError(
            f"{len(images)} images in {images_file}, {len(labels)} labels in {labels_file}; expected as many"
        )
    if not len(labels) or labels.max() >= len(named.idx_class_names):
        found = f"label {int(labels.max())}" if len(labels) else "no image"
        raise DataError(
            f"{labels_file}: found {found}, expected labels 0 to {len(named.idx_class_names) - 1}; "
            f"are these {named.torchvision_name}'s files?"
        )
    return TensorDataset(images.unsqueeze(1), labels, named.idx_class_names, name=named.torchvision_name)


def _load_through_torchvision(named: _NamedSet, part: Part, folder: Path, download: bool) -> TensorDataset:
    source = _open_torchvision_set(named, part, folder, download)
    if named.torchvision_name == "SVHN":
        images, labels, class_names = np.asarray(source.data), source.labels, _DIGIT_NAMES
    else:
        images, labels, class_names = source.data.transpose(0, 3, 1, 2), source.targets, tuple(source.classes)
    return TensorDataset(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.as_tensor(labels, dtype=torch.int64),
        class_names,
        name=named.torchvision_name,
    )


def _open_torchvision_set(named: _NamedSet, part: Part, folder: Path, download: bool) -> Any:
    # Imported where it is used: IDX files and arrays need no torchvision.
    import torchvision.datasets

    set_class = getattr(torchvision.datasets, named.torchvision_name)
    chosen = {"split": part} if named.torchvision_name == "SVHN" else {"train": part == "train"}
    try:
        return set_class(folder, **chosen, download=download)
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        # torchvision's own RuntimeError stands for missing, damaged (MD5) and failed downloads alike.
        reason = " ".join(str(error).split())
        if download:
            raise DataError(
                f"{named.torchvision_name} cannot be downloaded to {folder} ({reason}). "
                f"Check the network, or put the files there yourself. {_how_to_get(named, download)}"
            ) from error
        raise DataError(
            f"{named.torchvision_name} not found or damaged: looked in {folder} ({reason}). "
            f"{_how_to_get(named, download)}"
        ) from error


def _how_to_get(named: _NamedSet, download: bool) -> str:
    ways = [] if download else ["--set data.download=true"]
    if named.torchvision_name == "FashionMNIST":
        ways.append(f"Debian's package dataset-fashion-mnist ({DEBIAN_FASHION_MNIST})")
    ways.append("--set data.root=FOLDER if you have it elsewhere")
    return f"To get it: {', or '.join(ways)}"
