"""`flatselect.open_study`: the frames, their columns and dtypes, in both databases."""

import optuna
import pytest
from recorded_study import record_study

import flatselect
from flatselect.errors import StoreError
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.study_reader import UID_ATTRIBUTE
from flatselect.store.study_writer import StudyWriter


@pytest.fixture
def study(database_url):
    record_study(database_url)
    with flatselect.open_study(database_url) as study:
        yield study


def test_frames(study, database_url):
    trials = study.trials()
    assert list(trials["number"]) == list(range(9))
    assert trials["param_width"].dtype == "Int64"
    assert trials["param_block"].dtype == trials["state"].dtype == trials["failure"].dtype == "string"
    assert trials["param_bias"].dtype == trials["extrapolation"].dtype == "boolean"
    assert trials["predicted_test_score"].dtype == trials["param_learning_rate"].dtype == "float64"
    assert trials["started_at"].dtype == "datetime64[us]"
    assert trials["retrains"].isna().sum() == 8
    held = {trial.number: trial.params for trial in study._reader.trials(include_audits=False)}
    assert {row["number"]: row["param_pool"] for _, row in trials.iterrows() if row["number"] % 2} == {
        number: params["pool"] for number, params in held.items() if number % 2
    }
    few = study.trials("state = 'PRUNED'", ["number", "param_width"])
    assert few.to_dict("list") == {"number": [4, 5], "param_width": [held[4]["width"], held[5]["width"]]}
    assert study.trials("number > 99").dtypes.equals(trials.dtypes)
    ranks = study.trials(columns=["rank", "number", "width"]).set_index("rank")
    assert ranks["width"].dtype == "Int64"
    assert ranks["number"].loc[[1, 2, 3, 4]].tolist() == study.ranking()["number"].tolist()

    curves = study.curves()
    assert len(curves) == 7 * 3 - 1 + 2 - 1 - 1
    assert curves["trial"].dtype == "Int64"
    assert study.curves("trial = 1")["epoch"].tolist() == [1, 2, 3]
    measurements = study.measurements()
    assert measurements["companion_latency_ms"].tolist() == [1.5] * len(curves)
    assert not any(name.startswith("predicted") for name in measurements)
    assert study.predictions()["trial"].tolist() == [0, 1, 2, 3, 5]

    ranking = study.ranking()
    assert ranking["rank"].tolist() == [1, 2, 3, 4]
    best = study.best()
    assert best["number"] == ranking["number"][0] == 1
    assert best["param_width"] == held[1]["width"]
    with pytest.raises(StoreError, match="did you mean"):
        study.trials("widht > 3")
    with pytest.raises(StoreError, match="no study 'digist'; there is digits"):
        flatselect.open_study(database_url, "digist")


def test_parameters_of_any_name(tmp_path):
    url, name = f"sqlite:///{tmp_path}/study.db", 'a`b, "c"; --'
    storage, engine = make_optuna_storage(url), make_engine(url)
    optuna_study = optuna.create_study(study_name="any", storage=storage)
    optuna_study.set_user_attr(UID_ATTRIBUTE, "f" * 32)
    StudyWriter.create(engine, "f" * 32, "any", {}, {})
    trial = optuna_study.ask()
    trial.suggest_float(name, 0.5, 0.5)
    trial.suggest_int("rank", 7, 7)
    with flatselect.open_study(url) as study:
        assert study.trials()[f"param_{name}"].tolist() == [0.5]
        assert study.trials("param_rank = 7")["param_rank"].tolist() == [7]
        assert study.trials("rank = 7").empty, "the trial's place in the ranking"
    close_optuna_storage(storage)
    engine.dispose()
