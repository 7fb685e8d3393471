"""The study file as the database remembers it."""

import pydantic

from flatselect.config import StudyConfig
from flatselect.errors import StoreError
from flatselect.store.study_reader import StudyReader


def read_stored_config(reader: StudyReader) -> StudyConfig:
    """The study's settings as it was made; a key that this version does not know is no accident.

    Raises:
        StoreError: Another version of flatselect made the study, with keys or values that this one does not have.
    """
    try:
        return StudyConfig.from_dict(reader.config())
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise StoreError(
            f"study {reader.name()!r} was made by another version of flatselect: {key}: {first['msg']}; "
            "use it with the version that made it, or a newer one"
        ) from error
