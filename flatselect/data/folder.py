"""Image folders: one folder a class, images decoded when they are needed."""

import dataclasses
import hashlib
import signal
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as LoaderDataset

from flatselect.data.augmentation import RandomMoves
from flatselect.data.batching import plan_batches
from flatselect.data.dataset import Device
from flatselect.data.normalization import Constants, normalize_images
from flatselect.errors import DataError

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
_GREY_MODES = {"1", "L", "LA", "La"}
_DEEP_MODES = ("I", "F")
# What PIL's decoders raise on damaged files.
_PIL_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, struct.error, zlib.error,
    UnidentifiedImageError, Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True)
class ImageFile:
    """One image of a folder: its path below the folder, and how long the file is."""

    path: str
    n_bytes: int


@dataclass(eq=False)
class FolderDataset:
    """Images in files, decoded batch by batch, by `loader_workers` processes where that is not 0.

    Attributes:
        root: The folder; file names are relative to it.
        files: (n_images,).
        labels: int64 (n_images,).
        class_names: (n_classes,).
        input_shape: (channels, height, width): images are converted to grey or RGB and resized to it.
        loader_workers: DataLoader processes; 0 decodes in this one.
        mean: By channel, on [0, 1]; None for no normalisation beyond [0, 1].
        std: By channel, on [0, 1].
    """

    root: Path
    files: tuple[ImageFile, ...] = field(repr=False)
    labels: Tensor
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    loader_workers: int = 0
    mean: Constants | None = None
    std: Constants | None = None

    @property
    def name(self) -> str:
        return f"folder:{self.root}"

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the files' names and sizes, the labels, the input's shape, mean and std."""
        digest = hashlib.sha256(repr((self.input_shape, self.class_names, self.mean, self.std)).encode())
        for file, label in zip(self.files, self.labels.tolist(), strict=True):
            digest.update(repr((file.path, file.n_bytes, label)).encode())
        return digest.hexdigest()

    def hash_state(self) -> str:
        """SHA-256 over where the files lie and when each was changed: on one machine, whether any is another by now.

        The fingerprint is the same wherever a copy of the folder lies, and does not see an image that is replaced by
        one of as many bytes, which all images of some formats are.
        """
        digest = hashlib.sha256(str(self.root.resolve()).encode())
        for file in self.files:
            path = self.root / file.path
            digest.update(repr((file.path, path.stat().st_mtime_ns if path.is_file() else None)).encode())
        return digest.hexdigest()

    def subset(self, indices: Tensor) -> "FolderDataset":
        files = tuple(self.files[index] for index in indices.tolist())
        return dataclasses.replace(self, files=files, labels=self.labels[indices])

    def decode_all(self, batch_size: int = 64) -> Iterator[Tensor]:
        """All images in order, uint8 (n, channels, height, width), not normalised, on the CPU."""
        return self._decode(plan_batches(len(self), batch_size, None))

    def batches(
        self, batch_size: int, device: Device, *, shuffle_seed: int | None = None, augmentation: str = "none"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the set: see `Dataset.batches`."""
        generator = torch.Generator().manual_seed(shuffle_seed or 0)
        plan = plan_batches(len(self), batch_size, None if shuffle_seed is None else generator)
        moves = RandomMoves.draw(augmentation, len(self), *self.input_shape[1:], generator)
        for indices, pixels in zip(plan, self._decode(plan), strict=True):
            batch = pixels.to(device)
            if augmentation != "none":
                batch = moves.apply(batch, indices)
            yield normalize_images(batch, self.mean, self.std), self.labels[indices].to(device)

    def _decode(self, plan: list[Tensor]) -> Iterator[Tensor]:
        loader = DataLoader(
            _BatchDecoder(self.root, self.files, self.input_shape),
            sampler=plan,
            batch_size=None,
            num_workers=min(self.loader_workers, len(plan)),
            # Its own, or each pass would advance the global generator that dropout draws from.
            generator=torch.Generator().manual_seed(0),
            worker_init_fn=_ignore_interrupts,
        )
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            yield batch


class _BatchDecoder(LoaderDataset[Tensor | DataError]):
    """What a loader process does: from the indices of a batch to its pixels."""

    def __init__(self, root: Path, files: Sequence[ImageFile], input_shape: tuple[int, int, int]):
        self.root = root
        self.files = files
        self.input_shape = input_shape

    def __getitem__(self, indices: Tensor) -> Tensor | DataError:
        # The error is handed back, not raised: DataLoader would wrap its message in the process's traceback.
        try:
            return torch.stack([_decode_image(self.root / self.files[i].path, self.input_shape) for i in indices])
        except DataError as error:
            return error


def _ignore_interrupts(loader_worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; whether to stop is for the one that asked for the images to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def load_folder(
    root: Path,
    *,
    image_size: int | None,
    loader_workers: int,
    n_channels: int | None = None,
    labelled: bool = True,
) -> FolderDataset:
    """Finds the images below a folder: one folder a class, in the order of their names.

    Args:
        root: The folder of the classes' folders.
        image_size: Images are resized to this height and width; None: they must all be of one size.
        loader_workers: DataLoader processes.
        n_channels: 1 or 3; None: 1 if all images are grey, else 3.
        labelled: Whether folders are classes; else all images below the folder are of one.

    Raises:
        DataError: No such folder, no class folders, a class without images, an image whose header cannot be read,
            or images of several sizes and no image_size.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected a folder that holds one folder of images for each class")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    folders = folders if labelled else [root]
    if not folders:
        raise DataError(f"{root}: holds no folders; expected one folder of images for each class")
    files: list[ImageFile] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        members = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
        if not members:
            raise DataError(
                f"{folder}: holds no images ({', '.join(sorted(_SUFFIXES))}); "
                "put this class's images there or remove the folder"
            )
        files += [ImageFile(str(path.relative_to(root)), path.stat().st_size) for path in members]
        labels += [label] * len(members)
    size, is_grey = _inspect_images(root, files, image_size)
    channels = n_channels or (1 if is_grey else 3)
    class_names = tuple(folder.name for folder in folders)
    return FolderDataset(root, tuple(files), torch.tensor(labels), class_names, (channels, *size), loader_workers)


def _inspect_images(root: Path, files: list[ImageFile], image_size: int | None) -> tuple[tuple[int, int], bool]:
    """Reads every header: the common (height, width), and whether all images are grey."""
    size = (image_size, image_size) if image_size else None
    is_grey = True
    for file in files:
        path = root / file.path
        try:
            with Image.open(path) as image:
                found, mode = (image.height, image.width), image.mode
        except _PIL_ERRORS as error:
            raise _broken(path, error) from error
        if mode.startswith(_DEEP_MODES):
            raise DataError(f"{path}: has more than 8 bits a channel (mode {mode}); convert it to 8 bits")
        is_grey = is_grey and mode in _GREY_MODES
        size = size or found
        if image_size is None and found != size:
            raise DataError(
                f"{root}: images of several sizes: {files[0].path} is {size[0]}×{size[1]}, {file.path} "
                f"{found[0]}×{found[1]} (height×width); give one: --set data.image_size={min(size)}"
            )
    assert size is not None
    return size, is_grey


def _decode_image(path: Path, input_shape: tuple[int, int, int]) -> Tensor:
    """One image as uint8 (channels, height, width)."""
    channels, height, width = input_shape
    try:
        with Image.open(path) as opened:
            image = opened.convert("L" if channels == 1 else "RGB")
    except _PIL_ERRORS as error:
        raise _broken(path, error) from error
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).view(height, width, channels).permute(2, 0, 1).contiguous()


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read as an image ({error}); replace or remove the file")
