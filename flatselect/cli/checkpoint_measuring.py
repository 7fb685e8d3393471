"""From a checkpoint to what `flatselect rank` measures of it: in this process, in several, or from the cache."""

import contextlib
import dataclasses
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from flatselect.cli.checkpoint_description import describe_checkpoint
from flatselect.cli.checkpoint_list import ListedCheckpoint
from flatselect.cli.checkpoint_model import (
    build_from_checkpoint,
    check_training_images,
    choose_architecture,
    describe_other_images,
    find_n_classes,
)
from flatselect.cli.measured_images import use_training_constants
from flatselect.cli.option_words import in_words_of_options
from flatselect.cli.working_folder import ensure_working_folder_importable
from flatselect.data.dataset import TensorDataset, gather_images
from flatselect.data.folder import FolderDataset
from flatselect.data.loading import AnySet
from flatselect.data.normalization import Constants
from flatselect.models.factories import is_own_code
from flatselect.models.weight_files import read_weight_file
from flatselect.models.weight_fitting import find_module_name
from flatselect.selection.measurement_cache import MeasurementCache, make_cache_key
from flatselect.selection.measuring import (
    Evidence,
    MeasuredNetwork,
    describe_failure,
    measure_network,
    measure_training_pixels,
)
from flatselect.selection.worker_pool import WorkerLost, map_in_processes

_MOST_BYTES_IN_MEMORY = 2**30


@dataclass(frozen=True)
class MeasuringSettings:
    """How checkpoints are measured.

    Attributes:
        n_classes: Outputs, where they were given.
        has_given_constants: Whether mean and std were given; else an exported model's own are used.
        n_probe_images: Training images to measure flatness and its companions on.
        seed: Of what is drawn.
        layer: None: the last convolution before the pooling.
        batch_size: Images a forward pass.
        device: Where to measure.
    """

    n_classes: int | None
    has_given_constants: bool
    n_probe_images: int
    seed: int
    layer: str | None
    batch_size: int
    device: str


@dataclass
class CheckpointMeasurer:
    """Measures one checkpoint after the other on the same images; can be sent to another process.

    Attributes:
        train_set: All training images.
        unlabeled_set: Images from where the network will be used.
        settings: How.
    """

    train_set: AnySet
    unlabeled_set: AnySet | None
    settings: MeasuringSettings
    _evidence: dict[tuple[Constants | None, Constants | None], Evidence] = field(
        default_factory=dict, init=False, repr=False
    )

    def __call__(self, listed: ListedCheckpoint) -> MeasuredNetwork | str:
        """What was measured, or in words why nothing could be."""
        if listed.error is not None:
            return listed.error
        try:
            # What a network of the user's own prints is no part of the result.
            with contextlib.redirect_stdout(sys.stderr), in_words_of_options():
                return self._measure(listed)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - untrusted files, and code of the user's own
            reason = describe_failure(error)
            return reason.removeprefix(f"{listed.path}: ").removeprefix(f"{listed.path} ")

    def make_key(self, listed: ListedCheckpoint) -> str | None:
        """Names the measurement by the content of all that it depends on; None where the file cannot be read."""
        if listed.sha256 is None:
            return None
        settings = dataclasses.asdict(self.settings)
        settings |= {"device": torch.device(self.settings.device).type}
        del settings["batch_size"]  # changes no number but by rounding
        return make_cache_key(
            {
                "checkpoint": listed.sha256,
                "model": listed.model_name,
                "args": dict(listed.model_args),
                "code": _hash_own_code(listed.model_name),
                "train_set": self.train_set.fingerprint,
                "unlabeled_set": self.unlabeled_set and self.unlabeled_set.fingerprint,
                "image_files": self._states_of_files,
                "settings": settings,
            }
        )

    @cached_property
    def _states_of_files(self) -> list[str]:
        sets = (self.train_set, self.unlabeled_set)
        return [images.hash_state() for images in sets if isinstance(images, FolderDataset)]

    def measure_training_pixels(self, cache: MeasurementCache | None) -> dict[str, float]:
        """`measure_training_pixels` of the training images, from the cache where it was kept."""
        seed = self.settings.seed
        key = make_cache_key(
            {"training_pixels_of": self.train_set.fingerprint, "image_files": self._states_of_files, "seed": seed}
        )
        found = None if cache is None else cache.find_companions(key)
        if found is None:
            found = measure_training_pixels(self.train_set, seed)
            if cache is not None:
                cache.keep_companions(key, found)
        return found

    def hold_images_in_memory(self) -> "CheckpointMeasurer":
        """The same with images that are decoded once, not for each network, as far as there is room."""
        return CheckpointMeasurer(
            _decode(self.train_set), self.unlabeled_set and _decode(self.unlabeled_set), self.settings
        )

    def _measure(self, listed: ListedCheckpoint) -> MeasuredNetwork:
        settings = self.settings
        file = read_weight_file(listed.path)
        described = describe_checkpoint(file)
        architecture = choose_architecture(listed.path, described, listed.model_name, listed.model_args)
        check_training_images(described, self.train_set)
        constants = None if described is None or settings.has_given_constants else described.constants
        evidence = self._draw_evidence(constants)
        n_classes = settings.n_classes or find_n_classes(described, architecture) or self.train_set.n_classes
        shape = self.train_set.input_shape
        model = build_from_checkpoint(listed.path, file, described, architecture, shape, n_classes)
        model.to(settings.device)
        layer = None if settings.layer is None else find_module_name(model, settings.layer)
        measured = measure_network(
            model, evidence, layer=layer, batch_size=settings.batch_size, device=torch.device(settings.device)
        )
        notes = [measured.note, describe_other_images(described, self.train_set)]
        note = "; ".join(filter(None, notes)) or None
        return dataclasses.replace(measured, note=note, origin=None if described is None else described.origin)

    def _draw_evidence(self, trained_with: tuple[Constants, Constants] | None) -> Evidence:
        train_set = use_training_constants(self.train_set, trained_with)
        key = (train_set.mean, train_set.std)
        if key not in self._evidence:
            unlabeled = None
            if self.unlabeled_set is not None:
                renormalised = use_training_constants(self.unlabeled_set, trained_with)
                unlabeled, _ = gather_images(renormalised, "cpu")
            self._evidence.clear()  # one at a time: images are large
            self._evidence[key] = Evidence.draw(
                train_set,
                n_probe_images=self.settings.n_probe_images,
                unlabeled=unlabeled,
                seed=self.settings.seed,
                device=self.settings.device,
            )
        return self._evidence[key]


def measure_checkpoints(
    listed: Sequence[ListedCheckpoint],
    measurer: CheckpointMeasurer,
    cache: MeasurementCache | None,
    choose_n_workers: Callable[[int], int],
) -> Iterator[tuple[int, MeasuredNetwork | str, bool]]:
    """Measures every checkpoint that was not measured before.

    Args:
        listed: The checkpoints.
        measurer: Measures one.
        cache: Of earlier measurements; errors are not kept.
        choose_n_workers: From the number of checkpoints to be measured to that of processes; 1 is this one.

    Yields:
        The checkpoint's index, what was measured or why nothing could be, and whether it comes from the cache.
    """
    keys = [None if cache is None or entry.error else measurer.make_key(entry) for entry in listed]
    remaining = []
    for index, key in enumerate(keys):
        found = None if cache is None or key is None else cache.find(key)
        if found is None:
            remaining.append(index)
        else:
            yield index, found, True
    if not remaining:
        return
    n_workers = choose_n_workers(len(remaining))
    measurer = measurer.hold_images_in_memory()
    for index, result in _run(measurer, [(index, listed[index]) for index in remaining], n_workers):
        key = keys[index]
        if cache is not None and key is not None and isinstance(result, MeasuredNetwork):
            cache.keep(key, result)
        yield index, result, False


def _run(
    measurer: CheckpointMeasurer, entries: Sequence[tuple[int, ListedCheckpoint]], n_workers: int
) -> Iterator[tuple[int, MeasuredNetwork | str]]:
    if n_workers == 1:
        for index, entry in entries:
            yield index, measurer(entry)
        return
    n_threads = max(1, torch.get_num_threads() // n_workers)
    for position, result in map_in_processes(measurer, [entry for _, entry in entries], n_workers, n_threads):
        yield entries[position][0], str(result) if isinstance(result, WorkerLost) else result


def _hash_own_code(model_name: str | None) -> str | None:
    """SHA-256 of the file that builds a network of the user's own; what it imports is not looked at."""
    if model_name is None or not is_own_code(model_name):
        return None
    ensure_working_folder_importable()
    try:
        spec = importlib.util.find_spec(model_name.partition(":")[0])
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def _decode(dataset: AnySet) -> AnySet:
    channels, height, width = dataset.input_shape
    if not isinstance(dataset, FolderDataset) or len(dataset) * channels * height * width > _MOST_BYTES_IN_MEMORY:
        return dataset
    pixels = torch.cat(list(dataset.decode_all()))
    return TensorDataset(pixels, dataset.labels, dataset.class_names, dataset.name, dataset.mean, dataset.std)
