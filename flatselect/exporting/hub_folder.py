"""A folder that can be uploaded to Hugging Face's Hub as it is: weights, card, configuration."""

import json
from pathlib import Path

from flatselect.atomic_file import open_atomic
from flatselect.errors import CheckpointError, ExportError
from flatselect.exporting.model_card import make_model_card
from flatselect.exporting.model_files import describe_input, write_model
from flatselect.exporting.trial_model import TrialModel
from flatselect.file_location import is_url
from flatselect.models.weight_files import IN_FOLDER
from flatselect.store.study_reader import StudyReader
from flatselect.training.checkpoint import CheckpointFile

CARD, CONFIG = "README.md", "config.json"


def write_hub_folder(reader: StudyReader, model: TrialModel, folder: str | Path) -> CheckpointFile:
    """Writes `model.safetensors`, `config.json` and the model card `README.md` into a folder.

    Args:
        reader: Of the model's study.
        model: What is written.
        folder: Is made where it is missing.

    Returns:
        The file of weights.

    Raises:
        ExportError: There is a card already, or one of the files cannot be made.
        CheckpointError: The folder cannot be written.
    """
    if is_url(str(folder)):
        raise ExportError(f"{folder}: a folder is written on this machine alone; name one here, and copy it there")
    card_path = Path(folder, CARD)
    if card_path.exists():
        raise ExportError(f"{card_path} is there already, and may have been edited; remove it, or name another folder")
    card = make_model_card(reader, model)
    written = write_model(model, Path(folder, IN_FOLDER))
    content = model.content
    config = {
        "model_type": "flatselect",
        "architecture": content["model"],
        "model_args": content["model_args"],
        "num_classes": len(content["class_names"]),
        "label_names": content["class_names"],
        "input": describe_input(model),
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    try:
        for path, file_text in ((Path(folder, CONFIG), f"{text}\n"), (card_path, card)):
            with open_atomic(path) as stream:
                stream.write(file_text.encode())
    except OSError as error:
        raise CheckpointError(f"{error.filename or folder}: cannot be written ({error.strerror})") from error
    return written
