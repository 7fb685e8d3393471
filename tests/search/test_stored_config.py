"""A study that another version of flatselect made."""

import sqlite3
from contextlib import closing

import pytest
from searching import MakeStudy, open_reader

from flatselect.errors import StoreError
from flatselect.exporting.model_files import write_model
from flatselect.exporting.trial_model import read_trial_model
from flatselect.search.run import run_search
from flatselect.search.stored_config import read_stored_config


def test_a_key_of_another_version_is_named(make_study: MakeStudy) -> None:
    config = make_study("study.trials=4", "training.epochs=1")
    result = run_search(config)
    with closing(open_reader(result.storage)) as reader:
        assert read_stored_config(reader).to_dict() == config.to_dict()
        with closing(sqlite3.connect(result.storage.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute("UPDATE flatselect_studies SET config = json_set(config, '$.study.quantum', 1)")
        with pytest.raises(StoreError, match=r"study 'tiny' was made by another version .*: study\.quantum: Extra"):
            write_model(read_trial_model(reader, None), "nowhere.pt")
