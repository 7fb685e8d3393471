"""Exported models: weights, architecture and provenance in one file, and the way back."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.errors import CheckpointError, SearchError, StoreError
from flatselect.models.factories import build_model, is_own_code
from flatselect.ranking import rank_trials
from flatselect.records import TrialRecord
from flatselect.search.greedy_average import (
    AverageAssessor,
    TriedTrial,
    WeightAverage,
    average_greedily,
    find_ingredients,
)
from flatselect.search.stored_config import read_stored_config
from flatselect.search.study_images import reload_images
from flatselect.search.versions import collect_versions
from flatselect.search.weight_average import Weights
from flatselect.search_space import make_candidate
from flatselect.store.study_reader import CheckpointRecord, StudyReader
from flatselect.training.checkpoint import CheckpointFile, hash_file, load_checkpoint, save_checkpoint
from flatselect.training.seeding import seeded

EXPORTED_KIND = "flatselect model"


def export_model(reader: StudyReader, trial: int | None, path: str | Path) -> CheckpointFile:
    """Writes one trial's last weights, what is needed to build the network again, and where it comes from.

    Args:
        reader: Of the study.
        trial: A trial number; None for the best of the ranking.
        path: A `.pt` file; it is read with `weights_only=True`.

    Raises:
        StoreError: The study has no such trial.
        SearchError: The trial has no weights to export.
        CheckpointError: Its checkpoint is gone, or is not the one that the database remembers.
    """
    chosen = _choose_trial(reader.trials(include_audits=False), trial)
    file = _find_checkpoint(reader, chosen)
    weights = load_checkpoint(file.path)["model"]
    return save_checkpoint(Path(path), _make_content(reader, chosen, weights), file.epoch)


def export_average(
    reader: StudyReader,
    trial: int | None,
    n_best: int,
    path: str | Path,
    show: Callable[[TriedTrial], None] = lambda tried: None,
) -> tuple[CheckpointFile, WeightAverage]:
    """Writes the average of a trial's weights and of those of the best trials that are predicted to make it better.

    It starts from the trial, goes through those of the `n_best` first of the ranking that have its architecture, best
    first, and adds each with which the average is predicted to score higher than without it (`average_greedily`). If
    none is, the file holds the trial's own weights, as `export_model` writes them. What was tried stands in the
    provenance under "average". No audit is looked at.

    Args:
        reader: Of the study.
        trial: The number of the trial to start from; None for the best of the ranking.
        n_best: How many of the ranking are looked at.
        path: A `.pt` file; it is read with `weights_only=True`.
        show: Is called after each trial that was tried.

    Raises:
        StoreError: The study has no such trial.
        SearchError: None of the others has its architecture, there is no calibrator yet, the training images are not
            those of the search, or the trial has no weights.
        DataError: The training images cannot be loaded.
        ModelError: The network cannot be built here.
        CheckpointError: The trial's checkpoint is gone, or is not the one that the database remembers.
    """
    trials = reader.trials(include_audits=False)
    chosen = _choose_trial(trials, trial)
    config = read_stored_config(reader)
    ingredients = {other.number: other for other in [chosen, *find_ingredients(config, trials, chosen, n_best)]}
    calibrator = reader.latest_calibrator()
    if calibrator is None:
        raise SearchError(
            f"study {reader.name()!r} has no calibrator yet, so nothing predicts how an average would do; "
            "let its calibration trials finish first, or leave out --average"
        )
    file = _find_checkpoint(reader, chosen)
    assessor = AverageAssessor(
        config,
        make_candidate(config, chosen.params),
        reload_images(config, reader.data()),
        GapPredictor.from_dict(calibrator[1]),
        "cuda" if torch.cuda.is_available() and config.ray.gpus_per_trial != 0 else "cpu",
    )
    average = average_greedily(
        assessor,
        list(ingredients),
        lambda number: load_checkpoint(_find_checkpoint(reader, ingredients[number]).path)["model"],
        show,
    )
    content = _make_content(reader, chosen, average.result.weights, average)
    return save_checkpoint(Path(path), content, file.epoch), average


def _choose_trial(trials: Sequence[TrialRecord], number: int | None) -> TrialRecord:
    by_number = {trial.number: trial for trial in trials}
    if number is None:
        ranking = rank_trials(trials)
        if not ranking:
            raise SearchError("no trial of this study is ranked yet; let the search finish some first")
        number = ranking[0]
    if number not in by_number:
        raise StoreError(f"no trial {number} in this study; it has {len(trials)}, from 0")
    return by_number[number]


def _find_checkpoint(reader: StudyReader, trial: TrialRecord) -> CheckpointRecord:
    file = reader.checkpoint(trial.number)
    if file is None:
        raise SearchError(f"trial {trial.number} has no checkpoint ({trial.failure or trial.state})")
    try:
        found = hash_file(file.path)
    except FileNotFoundError:
        raise CheckpointError(f"{file.path}: no such checkpoint; it was written by trial {trial.number}") from None
    except OSError as error:
        raise CheckpointError(
            f"{file.path}: the checkpoint of trial {trial.number} cannot be read ({error})"
        ) from error
    if found != file.sha256:
        raise CheckpointError(f"{file.path}: changed since trial {trial.number} wrote it (its SHA-256 differs)")
    return file


def _make_content(
    reader: StudyReader, trial: TrialRecord, weights: Weights, average: WeightAverage | None = None
) -> dict[str, Any]:
    config = read_stored_config(reader)
    candidate = make_candidate(config, trial.params)
    data = reader.data()
    provenance = {
        "trial": trial.to_json(),
        "data": data,
        "study": config.to_dict(),
        "versions": collect_versions(),
    }
    return {
        "kind": EXPORTED_KIND,
        "model": candidate.model,
        "model_args": candidate.model_args,
        "input_shape": list(data["input_shape"]),
        "class_names": list(data["class_names"]),
        "state_dict": weights,
        "provenance": provenance if average is None else provenance | {"average": average.to_json()},
    }


def load(path: str | Path, *, factory: str | None = None) -> nn.Module:
    """Gives an exported model back, in evaluation mode, on the CPU.

    Args:
        path: What `flatselect export` wrote.
        factory: Must repeat the file's `module:function` where the model is a user's own: a file is never trusted to
            name the code that is run.

    Returns:
        The model. Its attribute `provenance` holds the trial, data, study and versions it comes from; its
        `class_names` the classes, in the order of its outputs.

    Raises:
        CheckpointError: The file is missing, broken, or not an exported model.
        ModelError: The architecture cannot be built here.
    """
    content: dict[str, Any] = load_checkpoint(path)
    if content.get("kind") != EXPORTED_KIND:
        raise CheckpointError(f"{path}: a checkpoint, but not a model that flatselect exported")
    name = str(content["model"])
    if is_own_code(name) and factory != name:
        raise CheckpointError(f"{path}: its network is built by {name!r}; if you trust it, pass factory={name!r}")
    channels, height, width = content["input_shape"]
    with seeded(0):
        model = build_model(name, content["model_args"], (channels, height, width), len(content["class_names"]))
    try:
        model.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the weights do not fit the network {name!r}: {error}") from error
    model.eval()
    # Plain attributes: `nn.Module` would take neither for a parameter nor for a buffer.
    model.__dict__.update(provenance=content["provenance"], class_names=tuple(content["class_names"]))
    return model
