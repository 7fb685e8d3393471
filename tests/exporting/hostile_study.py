"""A small study on images in folders whose names are hostile; its trials end in every way."""

from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from flatselect.search.result import SearchResult
from flatselect.store.engine import make_engine
from flatselect.store.study_reader import StudyReader, find_study

CLASS_NAMES = ("---\nlicense: mit\n---", "<script>alert(1)<", "a | b `code` **bold** [x](y)", "œuvre: {{ 1 }}")
STUDY = """
[study]
name = "hostile"
trials = 12
seed = 5
sampler = "random"
[data]
train = "folder:<b>train | images"
audit = "folder:audit"
image_size = 8
[search_space]
width = { type = "int", low = 2, high = 6 }
learning_rate = { type = "categorical", choices = [0.03, 0.1, 1e18] }
[training]
epochs = 3
batch_size = 16
[measure]
probe = 40
[calibration]
trials = 4
holdout = 0.3
coverage = 0.5
[pruner]
startup_trials = 2
[ray]
backend = "inline"
"""


class Searched(NamedTuple):
    """A finished search and the folder it ran in."""

    folder: Path
    result: SearchResult

    def open(self) -> StudyReader:
        return find_study(make_engine(f"sqlite:///{self.folder}/hostile.db"), "hostile")


def write_images(folder: Path, of: Any, per_class: int) -> None:
    for label, name in enumerate(CLASS_NAMES):
        (folder / name).mkdir(parents=True)
        for index, pixels in enumerate(of.pixels[of.labels == label][:per_class]):
            Image.fromarray(pixels[0].numpy()).convert("RGB").save(folder / name / f"{index}.png")
