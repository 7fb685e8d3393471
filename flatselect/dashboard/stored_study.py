"""A study's system attributes, in which Optuna and optuna-dashboard keep its note, plots and artifacts."""

from collections.abc import Collection
from typing import Any

import optuna
from optuna.storages import RDBStorage

from flatselect.store.engine import open_transaction
from flatselect.store.optuna_trials import read_study_ids
from flatselect.store.study_attributes import delete_system_attributes
from flatselect.store.study_reader import StudyReader


class StoredStudy:
    """A study of ours as Optuna has it.

    Every method raises what Optuna raises, or StoreError, where the database cannot do it.

    Args:
        reader: Of the study.
        storage: Optuna's, on the same database.

    Attributes:
        study: For functions of Optuna and optuna-dashboard.
    """

    def __init__(self, reader: StudyReader, storage: RDBStorage) -> None:
        self.reader = reader
        self._storage = storage
        with open_transaction(reader.engine) as connection:
            self._id = read_study_ids(connection)[reader.study_uid]
        self.study = optuna.load_study(study_name=storage.get_study_name_from_id(self._id), storage=storage)

    def read_attributes(self, prefix: str = "") -> dict[str, Any]:
        """Those whose keys begin so."""
        attributes = self._storage.get_study_system_attrs(self._id)
        return {key: value for key, value in attributes.items() if key.startswith(prefix)}

    def set_attribute(self, key: str, value: Any) -> None:
        self._storage.set_study_system_attr(self._id, key, value)

    def delete_attributes(self, keys: Collection[str]) -> None:
        delete_system_attributes(self.reader.engine, self._id, keys)
