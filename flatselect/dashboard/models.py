"""The models of a study's best trials as optuna-dashboard's artifacts: written when somebody asks for one."""

import importlib.util
from pathlib import Path

from flatselect.report.study_contents import StudyContents
from flatselect.store.study_reader import StudyReader

N_OFFERED = 10


def list_models(contents: StudyContents, reader: StudyReader) -> dict[int, dict[str, str]]:
    """By the trial's number, what the dashboard is to know of each model that is offered: of the best ones.

    Its id is the SHA-256 of the checkpoint that it is made of. Where there is no torch, which writes them, none is.
    """
    if importlib.util.find_spec("torch") is None:
        return {}
    checkpoints = reader.kept_checkpoints()
    return {
        number: {
            "artifact_id": checkpoints[number].sha256,
            "filename": f"trial-{number}.pt",
            "mimetype": "application/octet-stream",
            "encoding": "",
        }
        for number in contents.ranking[:N_OFFERED]
        if number in checkpoints
    }


def write_model(reader: StudyReader, number: int, path: Path) -> None:
    """Writes a trial's model, as `flatselect export` does, to a `.pt` file.

    Raises:
        FlatselectError: The trial's checkpoint is gone, or its network cannot be built here.
    """
    from flatselect.exporting import model_files, trial_model  # load torch, which takes seconds

    model_files.write_model(trial_model.read_trial_model(reader, number), path)
