"""The study that `tests/benchmarks/store.py` asks is one such as a search writes, and its answers are right."""

import importlib
from collections import Counter
from pathlib import Path

import optuna
import pytest

import flatselect
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.study_query import Question, ask
from flatselect.store.study_reader import find_study

N_TRIALS, N_EPOCHS, N_CALIBRATION = 50, 3, 8


@pytest.fixture
def large_url(database_url, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    importlib.import_module("large_study").make_large_study(database_url, tmp_path, N_TRIALS, N_EPOCHS)
    return database_url


def test_answers_are_those_computed_from_optunas_trials(large_url):
    storage = make_optuna_storage(large_url, create=False)
    told = optuna.load_study(study_name="noop", storage=storage).get_trials(deepcopy=False)
    close_optuna_storage(storage)
    assert [trial.number for trial in told] == list(range(N_TRIALS))
    reader = find_study(make_engine(large_url), "noop")
    with flatselect.open_study(large_url) as study:
        trials, curves, best = study.trials(), study.curves(), study.best()
        first = study.ranking()["number"].head(3).tolist()
    # Optuna is told the prediction of the last epoch, and after each epoch that epoch's.
    searched = told[N_CALIBRATION:]
    assert trials["predicted_test_score"].tolist()[N_CALIBRATION:] == [trial.value for trial in searched]
    assert trials["epochs"].tolist() == [N_EPOCHS] * N_TRIALS
    assert len({trial.value for trial in searched}) == len(searched), "no two are alike"
    for name in told[0].params:
        assert trials[f"param_{name}"].tolist() == [trial.params[name] for trial in told]
    reported = curves[curves["trial"] >= N_CALIBRATION]
    assert reported["predicted_test_score"].tolist() == [
        trial.intermediate_values[epoch] for trial in searched for epoch in range(1, N_EPOCHS + 1)
    ]
    last = curves[curves["epoch"] == N_EPOCHS]
    assert trials["train_score"].tolist() == last["train_score"].tolist()

    groups = ask(reader.engine, [reader.study_uid], Question(group_by="block", aggregates="count(),max(train_score)"))
    counts = Counter(trial.params["block"] for trial in told)
    assert {group["block"]: group["count()"] for group in groups} == counts
    assert {group["block"]: group["max(train_score)"] for group in groups} == {
        block: trials["train_score"][trials["param_block"] == block].max() for block in counts
    }
    wide = ask(reader.engine, [reader.study_uid], Question("width >= 16", "-predicted_test_score", "number", limit=5))
    predicted = dict(zip(trials["number"], trials["predicted_test_score"], strict=True))
    expected = sorted((t.number for t in told if t.params["width"] >= 16), key=lambda n: -predicted[n])
    assert [row["number"] for row in wide] == expected[:5]
    assert first == sorted(predicted, key=lambda n: -predicted[n])[:3]
    assert best["number"] == first[0]
    # What the reader makes of Optuna's storage and our tables agrees with what the views make of them.
    for trial, (_, row) in zip(reader.trials(include_audits=True), trials.iterrows(), strict=True):
        assert (trial.model, trial.attempts, trial.seconds, trial.audit_test_score) == (
            row["model"],
            row["attempts"],
            row["seconds"],
            row["audit_test_score"],
        )
    reader.close()
