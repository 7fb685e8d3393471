"""Questions in the condition language, in both databases; whatever is asked, nothing is written."""

import contextlib
from collections import Counter
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded_study import record_study
from sqlalchemy import text

from flatselect.errors import StoreError
from flatselect.ranking import rank_trials
from flatselect.store.engine import make_engine, open_transaction
from flatselect.store.study_query import Question, ask, ask_with_kinds
from flatselect.store.study_reader import find_study, list_studies


@pytest.fixture(scope="module")
def readers(request, tmp_path_factory, postgresql_module_url):
    """The same study in SQLite and in PostgreSQL; parameters differ, as they are drawn by lot."""
    found = {}
    for url in (f"sqlite:///{tmp_path_factory.mktemp('query')}/study.db", postgresql_module_url):
        record_study(url)
        reader = find_study(make_engine(url, create=False), "digits")
        found[reader.engine.dialect.name] = reader
    yield found
    for reader in found.values():
        reader.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def reader(request, readers):
    return readers[request.param]


def choose(reader, where, **values):
    return [row["number"] for row in ask(reader.engine, [reader.study_uid], Question(where=where, **values))]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", range(9)),
        ("number < 3", [0, 1, 2]),
        ("NUMBER < 3 AND NOT number = 1".replace("NUMBER", "number"), [0, 2]),
        ("number = 1 or number >= 7 and state == 'FAIL'", [1, 7]),
        ("(number = 1 or number >= 7) and state != 'FAIL'", [1, 8]),
        ("not (number < 7)", [7, 8]),
        ("number in (1, 3.0, 99)", [1, 3]),
        ("number not in (1, 2)", [0, 3, 4, 5, 6, 7, 8]),
        ("state in ('PRUNED', \"RUNNING\")", [4, 5, 8]),
        ("state = 'pruned' or state in ('Running', 'fail')", [4, 5, 6, 7, 8]),
        ("state != 'complete' and number < 6", [4, 5]),
        ("predicted_test_score is not null", [0, 1, 2, 3, 5]),
        ("not predicted_test_score > 0.62", [0]),
        ("predicted_test_score is null and state = 'COMPLETE'", []),
        ("model like 'cnn _' and model like '%4'", [4]),
        ("failure contains 'NAN'", [6]),
        ("pruned_because contains '%'", []),
        ("extrapolation", [5]),
        ("is_calibration = true", [0]),
        ("not is_calibration and number < 2", [1]),
        ("predicted_test_score > train_score and number < 2", [0, 1]),
        ("width >= 8", range(9)),
        ("param_width < 8", []),
        ("block in ('plain', 'resi''dual')", range(9)),
        ("bias = true or bias = 'false'", range(9)),
        ("`crop size` >= 1", [1, 3, 5, 7]),
        ("pool = 'all' or pool = 2 or pool is null", range(9)),
        ("width >= width", range(9)),
        ("started_at > '2020-01-01' and started_at < '2100-01-01 10:00:00'", range(9)),
        ("number > 1e999 or number < -99999999999999999999", []),
    ],
)
def test_a_condition_chooses(reader, where, expected):
    assert choose(reader, where) == list(expected)


def test_parameters_are_those_that_optuna_holds(reader):
    rows = ask(reader.engine, [reader.study_uid], Question(columns="number,width,block,learning_rate,bias,pool"))
    for row, trial in zip(rows, reader.trials(include_audits=False), strict=True):
        assert {name: row[name] for name in trial.params if name != "crop size"} == {
            name: value for name, value in trial.params.items() if name != "crop size"
        }
    chosen = [trial.number for trial in reader.trials(include_audits=False) if trial.params["width"] > 30]
    assert choose(reader, "width > 30") == chosen


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("predicted_test_scor > 0.9", "did you mean predicted_test_score"),
        ("widht > 3", "did you mean width"),
        ("flatness > 3", "did you mean relative_gap_flatness or flatness_standard_error\\?"),
        ("WIDTH > 3", "did you mean width\\?"),
        ("state = 'failed'", "state is COMPLETE, PRUNED, FAIL or RUNNING, and 'failed' is none of them"),
        ("zzzzzz > 3", "parameters are bias, block"),
        ("width > 'x'", "width is a number, and 'x' is not"),
        ("state > 3", "state is a text, and 3 is not"),
        ("block = plain", "'plain'; .*a text stands in quotes: block = 'plain'"),
        ("block", "block is a text; compare it"),
        ("extrapolation > true", "have no order"),
        ("extrapolation = 1", "extrapolation is true or false, and 1 is not"),
        ("started_at > 'noon'", "give it as '2026-01-31'"),
        ("number like '1'", "number is a number: like is for texts"),
        ("number = null", "say: COLUMN is null"),
        ("number >", "at the end: expected a number"),
        ("number > 1)", "at '\\)'"),
        ("(number > 1", "at the end: expected \\)"),
        ("number > 1 number", "expected and, or, or the end"),
        ("state = 'x", "a text that does not end"),
        ("number > 1; DROP TABLE trials", "at '; DROP TABLE trials' \\(character 11\\): not understood"),
        ("state = train_score", "they cannot be compared"),
        ("params = '{}'", "no column or parameter 'params'"),
        ("(" * 60 + "number" + ")" * 60, "within each other"),
        (" and ".join(["number > 1"] * 300), "more than 200"),
        ("state = '\x00'", "no database takes"),
    ],
)
def test_what_is_no_condition_is_said(reader, where, message):
    with pytest.raises(StoreError, match=message):
        choose(reader, where)


@pytest.mark.parametrize(("wrong", "right", "of_epochs"), [("number", "trial", True), ("trial", "number", False)])
def test_the_number_of_a_trial_is_suggested_by_its_name_in_the_other_view(reader, wrong, right, of_epochs):
    def read(name):
        for question in (
            Question(where=f"{name} = 3", of_epochs=of_epochs),
            Question(sort=f"-{name}", of_epochs=of_epochs),
            Question(columns=name, of_epochs=of_epochs),
            Question(group_by=name, of_epochs=of_epochs),
        ):
            yield lambda question=question: ask(reader.engine, [reader.study_uid], question)

    for asked in read(wrong):
        with pytest.raises(StoreError, match=f"^no column or parameter '{wrong}'; did you mean {right}\\?$"):
            asked()
    assert all(asked() for asked in read(right))


def test_order_and_limit(reader):
    assert choose(reader, None, sort="-predicted_test_score,-number", limit=4) == [2, 1, 5, 3]
    assert choose(reader, None, sort="predicted_test_score,number")[-4:] == [4, 6, 7, 8], "what is missing is last"
    assert choose(reader, None, sort="state,-number") == [3, 2, 1, 0, 7, 6, 5, 4, 8]
    widths = [trial.params["width"] for trial in reader.trials(include_audits=False)]
    rows = ask(reader.engine, [reader.study_uid], Question(sort="-width", columns="width", limit=3))
    assert [row["width"] for row in rows] == sorted(widths, reverse=True)[:3]
    assert choose(reader, None, limit=0) == []


def test_groups(reader):
    def group(**values):
        return ask(reader.engine, [reader.study_uid], Question(**values))

    rows = group(group_by="state", aggregates="count(), max(audit_test_score)", sort="-count()")
    assert rows == [
        {"state": "COMPLETE", "count()": 4, "max(audit_test_score)": 0.73},
        {"state": "FAIL", "count()": 2, "max(audit_test_score)": None},
        {"state": "PRUNED", "count()": 2, "max(audit_test_score)": None},
        {"state": "RUNNING", "count()": 1, "max(audit_test_score)": None},
    ]
    assert group(aggregates="count(),min(number),avg(number)", where="number > 5") == [
        {"count()": 3, "min(number)": 6, "avg(number)": 7}
    ]
    assert sum(row["count()"] for row in group(group_by="block,bias")) == 9
    biases = [trial.params["bias"] for trial in reader.trials(include_audits=False)]
    assert {row["bias"]: row["count()"] for row in group(group_by="bias")} == dict(Counter(biases))
    assert all(isinstance(row["bias"], bool) for row in group(group_by="bias"))
    assert group(of_epochs=True, group_by="trial", limit=1) == [{"trial": 0, "count()": 3}]
    for wrong, message in {
        "median(width)": "none of count",
        "max()": "of what",
        "sum(state)": "no number",
        "max(extrapolation)": "no order",
        "max(no)": "no column",
        "": "is empty",
    }.items():
        with pytest.raises(StoreError, match=message):
            group(aggregates=wrong)
    with pytest.raises(StoreError, match="only what is shown"):
        group(group_by="state", sort="number")


@pytest.mark.parametrize("where", [None, "width > 9999"])
def test_the_kinds_of_columns_are_those_of_the_answer(reader, where):
    def read(**values):
        rows, kinds = ask_with_kinds(reader.engine, [reader.study_uid], Question(where=where, **values))
        return kinds, rows

    kinds, rows = read(columns="number,width,state,bias,pool,started_at,param_learning_rate,extrapolation")
    assert list(kinds.values()) == [int, int, str, bool, object, datetime, float, bool]
    assert all(isinstance(row[name], kind | None) for row in rows for name, kind in kinds.items())
    kinds, rows = read(group_by="bias", aggregates="count(),avg(width),min(width),max(learning_rate),max(state)")
    assert list(kinds.values()) == [bool, int, float, int, float, str]
    assert all(isinstance(row[name], kind) for row in rows for name, kind in kinds.items())
    kinds, _ = read()
    assert kinds["param_crop size"] is float
    assert not {"params", "study_uid", "trial_id"} & kinds.keys()
    assert read(of_epochs=True)[0]["trial"] is int


def test_epochs(reader):
    rows = ask(
        reader.engine, [reader.study_uid], Question("width > 0 and epoch = 2", "-trial", limit=2, of_epochs=True)
    )
    assert [(row["trial"], row["epoch"]) for row in rows] == [(8, 2), (5, 2)]
    assert rows[1]["companions"]["latency_ms"] == 1.5


def test_companions_are_columns_of_epochs(reader):
    def read(**values):
        return ask(reader.engine, [reader.study_uid], Question(**values, of_epochs=True))

    margins = {
        (number, measurement.epoch): measurement.companions["margin"]
        for number, curve in reader.measurements().items()
        for measurement in curve
    }
    assert len({*margins.values()}) > 3
    rows = read(columns="trial,epoch,companion_margin")
    assert {(row["trial"], row["epoch"]): row["companion_margin"] for row in rows} == pytest.approx(margins)
    above = read(where="companion_margin > 0.15 and companion_latency_ms = 1.5", sort="-companion_margin")
    expected = sorted((margin for margin in margins.values() if margin > 0.15), reverse=True)
    assert [row["companions"]["margin"] for row in above] == pytest.approx(expected)
    mean = read(aggregates="avg(companion_margin)")[0]["avg(companion_margin)"]
    assert mean == pytest.approx(sum(margins.values()) / len(margins))
    rows, kinds = ask_with_kinds(
        reader.engine, [reader.study_uid], Question(columns="companion_margin", limit=1, of_epochs=True)
    )
    assert (len(rows), kinds) == (1, {"companion_margin": float})
    for name, near in (("companion_margn", "companion_margin"), ("margin", "companion_margin")):
        with pytest.raises(StoreError, match=f"no column or parameter '{name}'; did you mean {near}"):
            read(sort=name)
    with pytest.raises(StoreError, match="'companion_margin': companions are of epochs"):
        ask(reader.engine, [reader.study_uid], Question(sort="companion_margin"))


def test_ranks_are_those_of_the_ranking(reader):
    ranked = rank_trials(reader.trials(include_audits=False))
    rank = {number: place for place, number in enumerate(ranked, 1)}
    assert len(rank) == 4

    def read(**values):
        return ask(reader.engine, [reader.study_uid], Question(**values))

    assert read(columns="number,rank") == [{"number": number, "rank": rank.get(number)} for number in range(9)]
    assert choose(reader, "rank <= 2") == sorted(ranked[:2])
    assert choose(reader, "rank is null and state = 'COMPLETE'") == [2], "which trial 3 trained again"
    assert choose(reader, None, sort="rank", limit=3) == ranked[:3]
    assert choose(reader, None, sort="-rank")[:4] == ranked[::-1], "what is missing is last"
    assert read(columns="rank,width", where="width > 0 and rank in (2, 3)", sort="-rank", limit=1)[0]["rank"] == 3
    epochs = read(columns="trial,epoch,rank", where="rank = 1", sort="-epoch", of_epochs=True, limit=2)
    assert epochs == [{"trial": ranked[0], "epoch": epoch, "rank": 1} for epoch in (3, 2)]
    assert read(group_by="state", aggregates="min(rank),count()", where="rank is not null") == [
        {"state": "COMPLETE", "min(rank)": 1, "count()": 3},
        {"state": "PRUNED", "min(rank)": rank[5], "count()": 1},
    ]
    rows, kinds = ask_with_kinds(reader.engine, [reader.study_uid], Question(columns="rank", limit=0))
    assert (rows, kinds) == ([], {"rank": int})
    assert "rank" not in read(limit=1)[0], "only where it is asked for"
    with pytest.raises(StoreError, match=r"no column or parameter 'ranks'; did you mean rank or"):
        read(sort="ranks")


def test_ranks_are_of_each_study_by_itself(tmp_path):
    url = f"sqlite:///{tmp_path}/two.db"
    for name in ("digits", "others"):
        record_study(url, name)
    with contextlib.closing(find_study(make_engine(url, create=False), "digits")) as reader:
        uids = [summary.uid for summary in list_studies(reader.engine)]
        rows = ask(reader.engine, uids, Question("rank <= 2", "rank,study", "study,rank,number"))
        assert [(row["study"], row["rank"]) for row in rows] == [
            ("digits", 1), ("others", 1), ("digits", 2), ("others", 2)
        ]  # fmt: skip
        (row,) = ask(reader.engine, [reader.study_uid], Question("rank = 1", columns="study,number"))
        assert row == {"study": "digits", "number": rows[0]["number"]}


PIECES = st.sampled_from(
    [
        *("number", "width", "block", "state", "`crop size`", "extrapolation", "started_at", "zzz", "and", "or", "not"),
        *("in", "is", "null", "like", "contains", "=", "!=", "<", ">=", "(", ")", ",", "'", '"', "`", ";", "--", "/*"),
        *("*/", "%", "_", "\\", "1", "-2.5", "1e999", "99999999999999999999", "'x'", "'DROP TABLE trials'", "true"),
        *("rank", "\x00", "é", "\ud800", "nan", "count()", "max(width)"),
    ]
)
CONDITIONS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=12).map(" ".join))


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(where=CONDITIONS, sort=st.none() | CONDITIONS, aggregates=st.none() | CONDITIONS)
def test_any_words_at_all_do_no_harm(reader, where, sort, aggregates):
    def count():
        with open_transaction(reader.engine) as connection:
            tables = ("trials", "trial_params", "flatselect_measurements")
            return [connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() for table in tables]

    before = count()
    with contextlib.suppress(StoreError):
        ask(reader.engine, [reader.study_uid], Question(where=where, sort=sort, aggregates=aggregates, limit=5))
    assert count() == before
