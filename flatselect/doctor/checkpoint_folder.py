"""The folder of the checkpoints: whether it can be written, and has room for them."""

import math
import sys
import tempfile
import uuid
from pathlib import Path

import optuna
import psutil

from flatselect.config import StudyConfig
from flatselect.data.dataset import Dataset
from flatselect.doctor.finding import Finding
from flatselect.errors import ModelError
from flatselect.file_location import delete_file, is_url, join_location, open_whole
from flatselect.search_space import suggest
from flatselect.training.building import build_candidate

_SUBJECT = "checkpoints"
_TRIED_CANDIDATES = 5
# Weights and, at most, the two moments of Adam, each a float32.
_BYTES_PER_PARAMETER = 3 * 4
_KEPT_BESIDE = 16


def check_checkpoint_folder(config: StudyConfig, dataset: Dataset) -> Finding:
    """Whether checkpoints can be written, and about how much room all trials need.

    Args:
        config: The study.
        dataset: Its training images; candidates are built for their shape and classes.
    """
    location = str(config.study.checkpoints)
    if (problem := _try_url(location) if is_url(location) else None) is not None:
        return problem
    try:
        n_parameters = find_largest_candidate(config, dataset)
    except ModelError as error:
        found = f"{location}: how large they are is not known, no candidate can be: {error}"
        return Finding(_SUBJECT, "problem", found)
    n_trials = config.study.trials + config.study.retrain_top
    wanted = f"{config.study.trials} trials need"
    if config.study.keep_checkpoints is not None:
        # All are kept until the calibration trials have ended; after that, those that run and a few more.
        at_once = max(config.study.keep_checkpoints, config.calibration.n_trials) + _KEPT_BESIDE
        n_trials = min(n_trials, at_once)
        wanted = f"{n_trials} checkpoints at once need"
    needed = n_parameters * _BYTES_PER_PARAMETER * n_trials
    wanted += f" about {_show_bytes(needed)}"
    if is_url(location):
        return Finding(_SUBJECT, "ok", f"{location}: can be written, {wanted}")
    return _check_room(Path(location), needed, wanted)


def _try_url(folder: str) -> Finding | None:
    """What goes wrong with a small file there, None if nothing does."""
    location = join_location(folder, f".doctor-{uuid.uuid4().hex}")
    try:
        with open_whole(location, make_folders=True) as file:
            file.write(b"flatselect")
        delete_file(location)
    except OSError as error:
        remedy = "mend it (its package, credentials, bucket), or give another: --set study.checkpoints=URL"
        return Finding(_SUBJECT, "problem", f"{folder}: nothing can be written there ({error})", remedy)
    return None


def _check_room(folder: Path, needed: int, wanted: str) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        found = f"{folder}: nothing can be written in {existing} ({error.strerror})"
        return Finding(_SUBJECT, "problem", found, "give another folder: --set study.checkpoints=FOLDER")
    free = psutil.disk_usage(str(existing)).free
    found = f"{folder}: {_show_bytes(free)} free, {wanted}"
    if needed > free:
        return Finding(_SUBJECT, "problem", found, "free some, or give another folder: --set study.checkpoints=FOLDER")
    if 2 * needed > free:
        return Finding(_SUBJECT, "warning", found, "free some, or give another folder: --set study.checkpoints=FOLDER")
    return Finding(_SUBJECT, "ok", found)


def find_largest_candidate(config: StudyConfig, dataset: Dataset) -> int:
    """The parameters of the largest of a few random candidates.

    Raises:
        ModelError: None of them can be built.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # for `module:function` models, as in a search
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=config.study.seed))
    sizes: list[int] = []
    for _ in range(_TRIED_CANDIDATES):
        candidate = suggest(study.ask(), config)
        try:
            model = build_candidate(candidate, dataset, seed=config.study.seed)
        except ModelError as error:
            last_error = error
        else:
            sizes.append(sum(math.prod(parameter.shape) for parameter in model.parameters()))
    if not sizes:
        raise last_error
    return max(sizes)


def _show_bytes(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.3g} {unit}" if number < 1000 else f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"
