"""docs/database.md says what is so: its queries and its Python run, and its columns are the views'."""

import re
from pathlib import Path

import pytest
from recorded_study import record_study

from flatselect.store.checkpoint_rankings import RankedCheckpoint, record_ranking
from flatselect.store.engine import make_engine
from flatselect.store.read_only_sql import read_sql
from flatselect.store.tables import Base
from flatselect.store.view_columns import CURVES, OPTUNA_TRIALS, PARAMS, RANKING, TRIALS

PAGE = (Path(__file__).parents[2] / "docs/database.md").read_text(encoding="utf-8")


def read_blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_its_queries_answer(database_url):
    record_study(database_url)
    engine = make_engine(database_url)
    checkpoint = RankedCheckpoint("a.pt", 1, "5ha", "cnn", None, None, None, None)
    for _ in range(2):
        data = {"fingerprint": "f1", "name": "digits"}
        record_ranking(engine, [checkpoint], data=data, unlabeled=None, calibrator=None, versions={})
    engine.dispose()
    blocks = read_blocks("sql")
    assert len(blocks) == 5
    for sql in blocks:
        with read_sql(database_url, sql) as (names, rows):
            assert names
            assert list(rows)


def test_its_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    record_study("sqlite:///studies/digits.db")
    (code,) = read_blocks("python")
    found = {}
    exec(code, found)
    assert len(found["wide"]) == 9
    assert found["best"]["number"] == 1


@pytest.mark.parametrize("view", [TRIALS, CURVES, RANKING, PARAMS, OPTUNA_TRIALS], ids=lambda view: view.name)
def test_every_view_is_there_with_its_columns(view):
    assert f"`{view.name}`" in PAGE
    if view is not OPTUNA_TRIALS:
        assert {column.name for column in view.c} <= set(re.findall(r"`(\w+)`", PAGE))


def test_every_table_is_there():
    assert set(re.findall(r"^\| `(flatselect_\w+)`", PAGE, flags=re.MULTILINE)) == set(Base.metadata.tables)
