"""One trial's network, built and filled with its weights, and all that a file says of it."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.config import StudyConfig
from flatselect.data.normalization import Constants
from flatselect.errors import CheckpointError, SearchError, StoreError
from flatselect.exporting.loading import EXPORTED_KIND, build_exported_model
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
from flatselect.search_space import Candidate, make_candidate
from flatselect.store.study_reader import CheckpointRecord, StudyReader
from flatselect.training.checkpoint import hash_file, load_checkpoint


@dataclass(frozen=True)
class TrialModel:
    """A model to be written.

    Attributes:
        network: In evaluation mode, on the CPU.
        content: What a `.pt` file of it holds: architecture, shape of an image, classes, weights, provenance.
        config: The study's settings.
        candidate: The trial's network and hyper-parameters.
        trial: Without its audit.
        epoch: Epochs after which its weights were written.
        average: How weights were averaged; None: they are the trial's own.
    """

    network: nn.Module
    content: dict[str, Any]
    config: StudyConfig
    candidate: Candidate
    trial: TrialRecord
    epoch: int
    average: WeightAverage | None = None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.content["input_shape"]
        return channels, height, width

    @property
    def data(self) -> dict[str, Any]:
        """What is known of the training images: see `StudyReader.data`."""
        data: dict[str, Any] = self.content["provenance"]["data"]
        return data

    @property
    def constants(self) -> tuple[Constants, Constants] | None:
        """Mean and std of the training images; None where they were taken as they are."""
        return None if self.data["mean"] is None else (tuple(self.data["mean"]), tuple(self.data["std"]))


def read_trial_model(reader: StudyReader, trial: int | None) -> TrialModel:
    """Reads one trial's last weights.

    Args:
        reader: Of the study.
        trial: A trial number; None for the best of the ranking.

    Raises:
        StoreError: The study has no such trial.
        SearchError: The trial has no weights to export.
        CheckpointError: Its checkpoint is gone, or is not the one that the database remembers.
        ModelError: The network cannot be built here.
    """
    chosen = _choose_trial(reader.trials(include_audits=False), trial)
    config = read_stored_config(reader)
    file = _find_checkpoint(reader, chosen)
    return _make_model(reader, config, chosen, load_checkpoint(file.path)["model"], file.epoch)


def average_trial_models(
    reader: StudyReader, trial: int | None, n_best: int, show: Callable[[TriedTrial], None] = lambda tried: None
) -> TrialModel:
    """Averages a trial's weights and those of the best trials that are predicted to make it better.

    It starts from the trial, goes through those of the `n_best` first of the ranking that have its architecture, best
    first, and adds each with which the average is predicted to score higher than without it (`average_greedily`). If
    none is, the model has the trial's own weights, as `read_trial_model` reads them. What was tried stands in the
    provenance under "average". No audit is looked at.

    Args:
        reader: Of the study.
        trial: The number of the trial to start from; None for the best of the ranking.
        n_best: How many of the ranking are looked at.
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
    model = _make_model(reader, config, chosen, average.result.weights, file.epoch)
    model.content["provenance"]["average"] = average.to_json()
    return dataclasses.replace(model, average=average)


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
    if file.deleted_at is not None:
        kept = ", ".join(map(str, reader.kept_checkpoints())) or "none"
        raise SearchError(
            f"trial {trial.number}: its checkpoint was deleted {file.deleted_at:%Y-%m-%d %H:%M} UTC, as it was not "
            f"among the best (study.keep_checkpoints); those of these trials are kept: {kept}"
        )
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


def _make_model(
    reader: StudyReader, config: StudyConfig, trial: TrialRecord, weights: Weights, epoch: int
) -> TrialModel:
    candidate, data = make_candidate(config, trial.params), reader.data()
    content = {
        "kind": EXPORTED_KIND,
        "model": candidate.model,
        "model_args": candidate.model_args,
        "input_shape": list(data["input_shape"]),
        "class_names": list(data["class_names"]),
        "state_dict": weights,
        "provenance": {
            "trial": trial.to_json(),
            "data": data,
            "study": config.to_dict(),
            "versions": collect_versions(),
        },
    }
    network = build_exported_model(f"trial {trial.number}", content)
    return TrialModel(network, content, config, candidate, trial, epoch)
