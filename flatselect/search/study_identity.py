"""One study in one database: made on the first run, found again on the next, guarded against a change in its file."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import optuna

from flatselect.config import StudyConfig
from flatselect.data.dataset import Dataset, describe_training_set
from flatselect.errors import SearchError
from flatselect.search.telling import list_directions, name_metrics
from flatselect.store.driver_lock import hold_lock
from flatselect.store.driver_storage import DriverStorage
from flatselect.store.engine import make_engine
from flatselect.store.migrate import ensure_schema
from flatselect.store.optuna_storage import make_optuna_storage
from flatselect.store.patience import IMPATIENT, Patience
from flatselect.store.study_reader import UID_ATTRIBUTE, StudyReader
from flatselect.store.study_writer import StudyWriter

# What earlier trials were made under. Where to look for data (its fingerprint is compared), and how many trials,
# workers or seconds, may change.
_LASTING_SECTIONS = ("data", "search_space", "model", "training", "measure", "calibration")
_LASTING_STUDY_KEYS = ("seed", "minimize")
_PASSING_KEYS = {"data.train", "data.root", "data.download", "data.loader_workers", "data.audit", "data.audit_size"}


@dataclass
class OpenStudy:
    """A study with the one writer and the reader of its tables."""

    study: optuna.Study
    uid: str
    writer: StudyWriter
    reader: StudyReader
    storage: DriverStorage
    patience: Patience

    def close(self) -> None:
        """Closes the connections to the database."""
        self.reader.close()
        self.storage.close()


def open_or_create_study(config: StudyConfig, dataset: Dataset) -> OpenStudy:
    """Opens the study that `config` names, or makes it.

    Raises:
        SearchError: It exists, made under other settings or other data.
        StoreError: The database cannot be used.
    """
    url = config.study.storage
    assert url is not None, "load_study_file fills in the storage"
    data = describe_training_set(dataset)
    engine = make_engine(url)
    patience = Patience(config.study.storage_timeout)
    # Two drivers may start at once: only one makes the tables and the study.
    with hold_lock(engine, f"{UID_ATTRIBUTE}:{config.study.name}"):
        storage = DriverStorage(make_optuna_storage(url, patience=patience))
        ensure_schema(engine)
        study = optuna.create_study(
            study_name=config.study.name, storage=storage, directions=list_directions(config.study), load_if_exists=True
        )
        uid = study.user_attrs.get(UID_ATTRIBUTE)
        if uid is None:
            if study.get_trials(deepcopy=False):
                raise SearchError(
                    f"study {config.study.name!r} in this database was not made by flatselect; "
                    "give yours another name: --set study.name=..."
                )
            uid = uuid.uuid4().hex
            StudyWriter.create(engine, uid, config.study.name, config.to_dict(), data)
            study.set_user_attr(UID_ATTRIBUTE, uid)
        name_metrics(study, config.study)
    writer, reader = StudyWriter(engine, uid, patience), StudyReader(engine, uid, patience)
    opened = OpenStudy(study, uid, writer, reader, storage, patience)
    try:
        _check_unchanged(config, opened.reader, data)
    except SearchError:
        opened.close()
        raise
    return opened


def open_known_study(reader: StudyReader) -> OpenStudy:
    """Opens for writing the study that a reader reads; closing it closes the reader too.

    Raises:
        StoreError: The database cannot be used.
    """
    url = reader.engine.url.render_as_string(hide_password=False)
    storage = DriverStorage(make_optuna_storage(url, create=False))
    study = optuna.load_study(study_name=reader.name(), storage=storage)
    writer = StudyWriter(reader.engine, reader.study_uid)
    return OpenStudy(study, reader.study_uid, writer, reader, storage, IMPATIENT)


def _check_unchanged(config: StudyConfig, reader: StudyReader, data: dict[str, Any]) -> None:
    name = config.study.name
    changes = list(_find_changes(reader.config(), config.to_dict()))
    if not changes and reader.data()["fingerprint"] != data["fingerprint"]:
        changes = [f"the training images: were {reader.data()['n_images']} others, are {data['n_images']}"]
    if changes:
        raise SearchError(
            f"study {name!r} exists and was made under other settings, so its trials do not compare:\n"
            + "\n".join(f"  {change}" for change in changes)
            + f"\nput the settings back, or give this search another name: --set study.name={name}-2"
        )


def _find_changes(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for section in _LASTING_SECTIONS:
        old, new = before.get(section, {}), now.get(section, {})
        for key in sorted(old.keys() | new.keys()):
            path = f"{section}.{key}"
            # A key that came after the study was made: its trials were made under what is now the key's default.
            was = old.get(key, _find_default(section, key))
            if path not in _PASSING_KEYS and was != new.get(key):
                yield f"{path}: was {was!r}, is {new.get(key)!r}"
    for key in _LASTING_STUDY_KEYS:
        was = before["study"].get(key, _find_default("study", key))
        if was != now["study"].get(key):
            yield f"study.{key}: was {was!r}, is {now['study'].get(key)!r}"


def _find_default(section: str, key: str) -> Any:
    """What a study file without the key means by it; None where the section has no such key."""
    fields = getattr(StudyConfig.model_fields[section].annotation, "model_fields", {})
    return fields[key].get_default(call_default_factory=True, validated_data={}) if key in fields else None
