"""Where a study's checkpoints lie, and whether every worker sees the same folder there."""

import contextlib
from collections.abc import Iterable

from flatselect.config import StudyConfig
from flatselect.errors import CheckpointError
from flatselect.file_location import delete_file, join_location, open_whole, read_whole


def get_checkpoint_folder(config: StudyConfig, study_uid: str) -> str:
    """A folder of the study's own: one made again under the same name never meets the old one's checkpoints."""
    assert config.study.checkpoints is not None, "load_study_file fills in the folder"
    return join_location(config.study.checkpoints, study_uid[:8])


def make_checkpoint_path(folder: str, number: int) -> str:
    """Where a trial's checkpoint is written, on a path or at a URL."""
    return join_location(folder, f"trial-{number:05d}.pt")


class FolderToken:
    """A file of this run's own in the checkpoints' folder: a worker that can read it sees the driver's folder.

    Attributes:
        folder: The checkpoints' folder.
        location: Of the file, on a path or at an fsspec URL.
    """

    def __init__(self, folder: str, run_uid: str, dead_runs: Iterable[str] = ()) -> None:
        """Writes the file, and deletes those that killed runs have left.

        Args:
            folder: The checkpoints' folder.
            run_uid: Of this run, drawn by lot.
            dead_runs: The uids of runs that died.

        Raises:
            CheckpointError: The folder cannot be written.
        """
        self.folder = folder
        self.location = _name_token(folder, run_uid)
        try:
            with open_whole(self.location, make_folders=True) as stream:
                stream.write(b"A worker that cannot read this file would lose its checkpoints.\n")
        except OSError as error:
            raise CheckpointError(
                f"study.checkpoints: {folder} cannot be written ({error}); give a folder or an fsspec URL that can be"
            ) from error
        for uid in dead_runs:
            _delete_if_possible(_name_token(folder, uid))

    def close(self) -> None:
        """Deletes the file, if it can be."""
        _delete_if_possible(self.location)


def find_token_problem(location: str) -> str | None:
    """Why this process cannot read the token; None if it can."""
    try:
        read_whole(location)
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return None


def _name_token(folder: str, run_uid: str) -> str:
    return join_location(folder, f"seen-by-workers-{run_uid}")


def _delete_if_possible(location: str) -> None:
    with contextlib.suppress(OSError):
        delete_file(location)
