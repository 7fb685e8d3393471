"""`flatselect show`: every number it says of a study and of a trial, found in another way; and that it reads well."""

import itertools
import json
import math
import re
import shlex
import sqlite3
import uuid
from contextlib import closing
from statistics import NormalDist

import optuna
import pytest
from click.testing import CliRunner
from written_study import N_CALIBRATION, N_EPOCHS, write_study

from flatselect.cli.main import cli
from flatselect.cli.next_steps import Address
from flatselect.cli.search import describe_going_on
from flatselect.cli.show_trial_output import draw_spark
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.study_reader import UID_ATTRIBUTE
from flatselect.store.study_writer import StudyWriter

HOSTILE = "[red]x[/red]\x1b[31m\x07" + "long " * 200
WIDTHS = (60, 80, 120)


def run(*arguments, n_columns=80):
    return CliRunner(env={"COLUMNS": str(n_columns)}).invoke(cli, [str(argument) for argument in arguments])


def show(*arguments, n_columns=80):
    done = run("show", *arguments, n_columns=n_columns)
    assert done.exit_code == 0, done.output
    told, _, commands = done.stdout.partition("\nNext\n")
    assert max(map(len, told.splitlines())) <= n_columns
    return told, commands


def show_json(*arguments):
    done = run("show", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def query(path, *arguments):
    return json.loads(run("query", path, *arguments, "--json").stdout)


def refuse(*arguments):
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (1, ""), done.output
    assert isinstance(done.exception, SystemExit), done.exception
    return " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def story(plain_path):
    return show_json(plain_path)


@pytest.fixture(scope="module")
def trials(plain_path):
    """What `flatselect query` says of each, by number."""
    return {trial["number"]: trial for trial in query(plain_path)}


@pytest.fixture(scope="module")
def ranking(plain_path):
    """Numbers, best first, as the database's view has it."""
    asked = run("sql", "SELECT number FROM flatselect_ranking ORDER BY rank", plain_path, "--json")
    return [row["number"] for row in json.loads(asked.stdout)]


def describe_normal(trial):
    """The predicted test score's distribution, by its gap's 90 % interval."""
    low, high = trial["predicted_test_gap_interval"]
    return NormalDist(trial["train_score"] - trial["predicted_test_gap"], (high - low) / (2 * 1.6448536269514722))


def test_counts_are_optunas(story, plain_path):
    storage = make_optuna_storage(f"sqlite:///{plain_path}")
    states = [trial.state.name for trial in storage.get_all_trials(storage.get_all_studies()[0]._study_id)]
    close_optuna_storage(storage)
    counts = story["trials"]
    assert counts["begun"] == counts["wanted"] == counts["attempts"] == len(states) == 14
    for name, state in {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING"}.items():
        assert counts[name] == states.count(state)
    assert counts["calibration"] == N_CALIBRATION


def test_what_pruning_saved_is_counted_trial_by_trial(story, trials):
    pruned = [trial for trial in trials.values() if trial["state"] == "PRUNED"]
    saved = [N_EPOCHS - trial["epochs"] for trial in pruned]
    assert sum(saved) > 0
    assert story["cost"]["saved_epochs"] == sum(saved)
    assert story["cost"]["saved_seconds"] == pytest.approx(1.25 * sum(saved)), "every epoch took 1.25 s"
    assert story["cost"]["epochs"] == sum(trial["epochs"] for trial in trials.values())
    (group,) = story["pruned"]
    assert group["trials"] == [trial["number"] for trial in pruned]
    assert group["reason"].endswith("fell short of the best of the finished trials")
    bounds = {t["number"]: re.search(r"bound (\S+) of .* < ([\d.]+),", t["pruned_because"]).groups() for t in pruned}
    closest = min(bounds, key=lambda number: float(bounds[number][1]) - float(bounds[number][0]))
    assert group["closest"]["trial"] == closest
    assert (group["closest"]["bound"], group["closest"]["needed"]) == tuple(map(float, bounds[closest]))


def test_the_best_and_how_sure_it_is(story, trials, ranking):
    best = story["best"]
    assert [trial["number"] for trial in best["top"]] == ranking[:5]
    first = trials[ranking[0]]
    assert best["trial"]["predicted_test_score"] == first["predicted_test_score"]
    low = first["predicted_test_score_interval"][0]
    assert best["not_told_apart"] == [n for n in ranking[1:] if trials[n]["predicted_test_score"] >= low]
    assert best["n_extrapolating"] == sum(trials[number]["extrapolation"] for number in ranking)
    # P(best) by a plain integral over one grid.
    rivals = [describe_normal(trials[number]) for number in ranking]
    grid = [i / 5_000 for i in range(-10_000, 20_000)]
    chance = sum(rivals[0].pdf(x) * math.prod(rival.cdf(x) for rival in rivals[1:]) / 5_000 for x in grid)
    assert best["probability_best"] == pytest.approx(chance, abs=2e-3)
    assert sum(trial["probability_best"] for trial in best["top"]) <= 1 + 1e-9


def test_failures_and_the_audit_stand_apart(story, trials):
    assert [(group["reason"], group["trials"]) for group in story["failed"]] == [("ValueError: bad", [13])]
    audited = {str(n): t["audit_test_score"] for n, t in trials.items() if t["audit_test_score"] is not None}
    assert story["audit"]["scores"] == audited
    errors = [
        abs(t["audit_test_score"] - t["predicted_test_score"]) for t in trials.values() if t["predicted_test_score"]
    ]
    assert story["audit"]["mean_absolute_error"] == pytest.approx(sum(errors) / len(errors))
    inside = [
        t["predicted_test_score_interval"][0] <= t["audit_test_score"] <= t["predicted_test_score_interval"][1]
        for t in trials.values()
        if t["predicted_test_score"]
    ]
    assert story["audit"]["n_inside_interval"] == sum(inside)
    assert "audit" not in json.dumps({**story, "audit": None, "next": None}).replace('"audit": null', "")


def test_how_long_it_took_and_what_it_was_made_with(story, plain_path, tmp_path):
    path = tmp_path / "study.db"
    path.write_bytes(plain_path.read_bytes())
    same = "outcome, host, pid, backend, ?, config, machine, config_sha256, data_fingerprint, host_kind"
    again = f"INSERT INTO flatselect_runs SELECT ?, study_uid, ?, ?, ?, {same}"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE flatselect_runs SET started_at = '2026-01-01 10:00', heartbeat_at = '2026-01-01 11:00'"
        )
        for uid, start, end, torch in (("x", "10:30", "11:10", "3.0"), ("y", "12:00", "12:00:30", "4.0")):
            start, end = f"2026-01-01 {start}", f"2026-01-01 {end}"
            words = [uid, start, end, end, json.dumps({"torch": torch})]
            connection.execute(f"{again} FROM flatselect_runs LIMIT 1", words)
    search = show_json(path)["search"]
    assert search["seconds"] == 70 * 60 + 30, "two ran side by side for half an hour"
    assert search["versions"] == {"torch": "4.0"}, "of the run that was last"
    told = " ".join(show(path)[0].split())
    assert "2026-01-01 10:00 to 2026-01-01 12:00 UTC, 1 h 10 min in all" in told
    assert "made with torch 4.0" in told


def test_the_calibrator_is_the_stored_one(story, plain_contents):
    assert story["calibrator"] == json.loads(json.dumps(plain_contents.calibrator.describe()))
    assert story["calibration"]["trials_complete"] == N_CALIBRATION


@pytest.mark.parametrize("n_columns", WIDTHS)
def test_a_person_reads_the_same(plain_path, story, n_columns):
    told, commands = show(plain_path, n_columns=n_columns)
    words = " ".join(told.split())
    best = story["best"]["trial"]
    low, high = best["predicted_test_score_interval"]
    for text in (
        "digits: 14 of 14 trials begun; 7 complete, 6 pruned, 1 failed",
        "digits: 1,297 of 1×8×8, 2 classes",
        "learning_rate 0.002 to 0.1 (log)",
        "fixed: batch_size = 32",
        f"{story['cost']['saved_epochs']} epochs saved",
        f"predicted test score {best['predicted_test_score']:.4f}",
        f"({low:.3f} to {high:.3f})",
        f"P(best) = {story['best']['probability_best']:.2f}",
        "ValueError: bad",
        f"mean absolute error {story['audit']['mean_absolute_error']:.4f}",
        "used by none",
    ):
        assert text in words, text
    before, _, _ = words.partition("Audit (")
    assert "audited" not in before
    for command in ("show", "export", "report", "trials", "search"):
        assert f"flatselect {command} " in commands
    assert f"flatselect export {plain_path} --trial best -o best.pt\n" in commands, "a command is one line"
    assert "\x1b" not in told, "piped: no colour"


@pytest.mark.parametrize("number", [0, 7, 13])
def test_a_trials_story_is_what_query_says(plain_path, trials, ranking, number):
    story, asked = show_json(plain_path, number), trials[number]
    for name in (
        "state",
        "params",
        "model",
        "epochs",
        "train_score",
        "predicted_test_score",
        "holdout_score",
        "failure",
    ):
        assert story["trial"][name] == asked[name], name
    epochs = query(plain_path, "--epochs", "--where", f"trial = {number}")
    for name in ("epoch", "train_loss", "relative_gap_flatness", "predicted_test_score", "extrapolation"):
        assert [row[name] for row in story["curve"]] == [epoch[name] for epoch in epochs], name
    assert story["audit_test_score"] == asked["audit_test_score"]
    standing = story["standing"]
    if number not in ranking:
        assert (standing["rank"], standing["unranked_because"]) == (None, "it failed")
        return
    place = ranking.index(number)
    assert standing["rank"] == place + 1
    neighbours = [ranking[i] for i in (place - 1, place + 1) if 0 <= i < len(ranking)]
    assert [other["number"] for other in standing["neighbours"]] == neighbours
    best = trials[ranking[0]]
    if best is not asked:
        assert standing["best"]["behind_by"] == pytest.approx(
            best["predicted_test_score"] - asked["predicted_test_score"]
        )
        difference = describe_normal(asked) - describe_normal(best)
        assert standing["best"]["probability_better"] == pytest.approx(1 - difference.cdf(0), abs=1e-3)


def test_best_is_the_first_of_the_ranking(plain_path, ranking):
    assert show_json(plain_path, "best") == show_json(plain_path, ranking[0])


def test_a_pruned_trial_says_what_it_would_have_needed(plain_path, story):
    number = story["pruned"][0]["trials"][0]
    pruned = show_json(plain_path, number)["pruned"]
    assert pruned["short_by"] == pytest.approx(pruned["needed"] - pruned["bound"])
    assert pruned["short_by"] > 0
    words = " ".join(show(plain_path, number)[0].split())
    assert (
        f"an upper bound of at least {pruned['needed']:.4g} for its final score; it was {pruned['bound']:.4g}" in words
    )
    assert f"saved {N_EPOCHS - pruned['epoch']} epochs" in words


def test_a_failed_trial_says_why_and_how_to_try_it_again(plain_path):
    told, commands = show(plain_path, 13)
    assert "failed because ValueError: bad" in " ".join(told.split())
    assert f"flatselect trials {plain_path} retry 13" in commands
    assert "export" not in commands


def test_a_checkpoint_is_looked_at(plain_path, tmp_path):
    path = tmp_path / "study.db"
    path.write_bytes(plain_path.read_bytes())
    file = tmp_path / "trial.pt"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO flatselect_checkpoints SELECT uid, 0, 6, ?, 'x', 1500000, NULL FROM flatselect_studies",
            [str(file)],
        )
    assert show_json(path, 0)["checkpoint"]["found_bytes"] is None
    told, commands = show(path, 0)
    assert "1.5 MB; the file is gone" in told
    assert "export" not in commands
    file.write_bytes(b"1234")
    told, commands = show(path, 0)
    assert "the file has changed" in told
    assert f"flatselect export {path} --trial 0 -o trial-0.pt" in commands
    file.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE flatselect_checkpoints SET deleted_at = '2026-11-20 10:30:59.123456'")
    assert show_json(path, 0)["checkpoint"]["deleted_at"] == "2026-11-20T10:30:59.123456"
    told, commands = show(path, 0)
    assert "1.5 MB; deleted 2026-11-20 10:30 UTC, as it was not among the best" in " ".join(told.split())
    assert "export" not in commands


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("77",), "trial 77: there is no such trial (there is 0 to 13)"),
        (("bset",), "bset: expected a trial's number or best"),
    ],
)
def test_what_is_not_there_is_a_message(plain_path, words, message):
    assert message in refuse("show", plain_path, *words)


@pytest.fixture(scope="module")
def hostile_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "hostile.db"
    write_study(f"sqlite:///{path}", evil=HOSTILE)
    return path


@pytest.mark.parametrize(("words", "n_columns"), [((), 60), ((), 120), (("best",), 60), (("best",), 80), (("13",), 60)])
def test_hostile_names_are_text(hostile_path, words, n_columns):
    told, commands = show(hostile_path, *words, n_columns=n_columns)
    assert "[red]x[/red]\\x1b[31m\\x07" in "".join(told.split())
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", told + commands)


def test_commands_can_be_pasted_and_tell_no_password(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = Address("my study.db", "postgresql://me:secret@host/database")
    assert shlex.split(address.call("show", 7)) == [
        "flatselect", "show", "my study.db", "7", "--storage", "postgresql://me:***@host/database"
    ]  # fmt: skip
    assert Address("digits.db", None).search() == "flatselect search STUDY.toml"
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "digits.toml").touch()
    for study in ("digits", "digits.db", "studies/digits.toml"):
        assert Address(study, None).search("--trials", 9) == "flatselect search studies/digits.toml --trials 9"


def test_an_interrupted_search_says_how_to_go_on_with_this_very_study():
    overrides = ["training.epochs=5", "study.storage=postgresql://me:secret@host/database"]
    words = describe_going_on("my.toml", "postgresql://me:secret@host/database", 9, overrides)
    assert shlex.split(words) == [
        *["flatselect", "search", "my.toml", "--trials", "9", "--set", "training.epochs=5"],
        *["--set", "study.storage=postgresql://me:***@host/database"],
        *["--storage", "postgresql://me:***@host/database"],
    ]
    assert describe_going_on("my.toml", None, None, []) == "flatselect search my.toml"


def test_nothing_is_written(plain_path):
    before = plain_path.read_bytes()
    show(plain_path)
    show(plain_path, "best")
    assert plain_path.read_bytes() == before


def make_small_study(path, states, *, minimize=(), outcome="interrupted"):
    """A study of trials in these states, none of which was measured."""
    url = f"sqlite:///{path}"
    storage, engine = make_optuna_storage(url), make_engine(url)
    study = optuna.create_study(study_name="small", storage=storage, direction="maximize")
    study.set_user_attr(UID_ATTRIBUTE, uuid.uuid4().hex)
    config = {"study": {"name": "small", "trials": 8, "minimize": list(minimize)}, "calibration": {"trials": 4}}
    writer = StudyWriter.create(engine, study.user_attrs[UID_ATTRIBUTE], "small", config, {})
    if states:
        run_uid = writer.start_run("elsewhere", 1, "ray", {}, config)
    for number, state in enumerate(states):
        if state == "WAITING":
            study.enqueue_trial({"x": 0.5})
            continue
        study.ask().suggest_float("x", 0, 1)
        writer.start_attempt(number, 1, run_uid, is_calibration=True, candidate={}, model="cnn")
        if state != "RUNNING":
            study.tell(number, state=optuna.trial.TrialState[state])
    if states and outcome:
        writer.end_run(run_uid, outcome)
    close_optuna_storage(storage)
    engine.dispose()
    return path


@pytest.mark.parametrize(
    ("states", "outcome", "said", "command"),
    [
        ([], None, ["no trial has begun", "no process has driven it", "not known"], "search STUDY.toml"),
        (["RUNNING"], None, ["1 of 8 trials begun; 0 complete, 1 running", "running now: process 1 on"], "watch"),
        (
            ["RUNNING", "FAIL"],
            "interrupted",
            ["interrupted; 1 run on elsewhere (ray)", "1 failed, 1 broken off"],
            "search STUDY.toml",
        ),
        (["PRUNED", "WAITING"], "failed", ["1 waiting", "the pruner left no words"], "search STUDY.toml"),
    ],
)
def test_a_study_that_has_not_come_far(tmp_path, states, outcome, said, command):
    path = make_small_study(tmp_path / "small.db", states, outcome=outcome)
    told, commands = show(path, n_columns=60)
    words = " ".join(told.split())
    for text in [
        *said,
        "no trial is ranked yet",
        "none yet it is fitted when the calibration trials have ended: 0 of 4",
    ]:
        assert text in words, text
    assert f"flatselect {command}" in commands
    assert "no trial of this study is ranked yet" in refuse("show", path, "best")
    for number, state in enumerate(states):
        assert f"small, trial {number}: {state}" in show(path, number, n_columns=60)[0]


def test_of_several_objectives_the_front_is_shown(plain_path, tmp_path, trials, ranking):
    path = tmp_path / "front.db"
    path.write_bytes(plain_path.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE flatselect_studies SET config = json_set(config, '$.study.minimize', json('[\"parameters\"]'))"
        )
    scores = {number: (trials[number]["predicted_test_score"], -trials[number]["n_parameters"]) for number in ranking}
    beaten = {
        one
        for one, other in itertools.permutations(ranking, 2)
        if all(a <= b for a, b in zip(scores[one], scores[other], strict=True)) and scores[one] != scores[other]
    }
    story = show_json(path)
    assert [trial["number"] for trial in story["pareto_front"]] == [
        number for number in ranking if number not in beaten
    ]
    for n_columns in (60, 120):
        words = " ".join(show(path, n_columns=n_columns)[0].split())
        assert f"{len(ranking) - len(beaten)} of {len(ranking)} predicted trials are on the Pareto front" in words
        assert "P(best)" not in words


def test_a_spark_is_as_high_as_its_values():
    assert draw_spark([0.0, 0.5, None, 1.0]) == "▁▅ █  0 to 1"
    assert draw_spark([2.0, 2.0, 2.0]) == "▁▁▁  2 to 2"
    assert draw_spark([1.0, None, 2.0]) == ""
    assert len(draw_spark([float(i) for i in range(1000)]).partition("  ")[0]) == 40
