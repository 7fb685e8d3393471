"""Exported models: weights, architecture and provenance in one file, and the way back."""

from pathlib import Path
from typing import Any

from torch import nn

from flatselect.config import StudyConfig
from flatselect.errors import CheckpointError, SearchError, StoreError
from flatselect.models.factories import build_model, is_own_code
from flatselect.ranking import rank_trials
from flatselect.search.versions import collect_versions
from flatselect.search_space import make_candidate
from flatselect.store.study_reader import StudyReader
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
    trials = {record.number: record for record in reader.trials(include_audits=False)}
    if trial is None:
        ranking = rank_trials(list(trials.values()))
        if not ranking:
            raise SearchError("no trial of this study is ranked yet; let the search finish some first")
        trial = ranking[0]
    if trial not in trials:
        raise StoreError(f"no trial {trial} in this study; it has {len(trials)}, from 0")
    file = reader.checkpoint(trial)
    if file is None:
        raise SearchError(f"trial {trial} has no checkpoint ({trials[trial].failure or trials[trial].state})")
    if Path(file.path).exists() and hash_file(Path(file.path)) != file.sha256:
        raise CheckpointError(f"{file.path}: changed since trial {trial} wrote it (its SHA-256 differs)")
    state = load_checkpoint(file.path)
    config = StudyConfig.from_dict(reader.config())
    candidate = make_candidate(config, trials[trial].params)
    data = reader.data()
    content = {
        "kind": EXPORTED_KIND,
        "model": candidate.model,
        "model_args": candidate.model_args,
        "input_shape": list(data["input_shape"]),
        "class_names": list(data["class_names"]),
        "state_dict": state["model"],
        "provenance": {
            "trial": trials[trial].to_json(),
            "data": data,
            "study": config.to_dict(),
            "versions": collect_versions(),
        },
    }
    return save_checkpoint(Path(path), content, file.epoch)


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
