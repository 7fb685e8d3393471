"""`flatselect dashboard` over HTTP: its numbers are the study's, it writes nothing but notes, and it ends well."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from click.testing import CliRunner
from markdown_it import MarkdownIt
from served import add_password, serve, serve_by_hand, serve_here
from written_study import EVIL, STUDY, write_study

import flatselect
from flatselect.cli.main import cli
from flatselect.cli.opening import open_study_reader
from flatselect.dashboard.additions import AdditionsCache
from flatselect.dashboard.plots import make_figure
from flatselect.exporting.model_files import write_model
from flatselect.exporting.trial_model import read_trial_model
from flatselect.markdown import escape_markdown
from flatselect.report.chart import Axis, Chart, Series
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.study_writer import StudyWriter

OWN_PLOTS = {
    f"flatselect-{kind}"
    for kind in ("ranking", "audit", "gap", "learning", "flatness", "pruned", "cost", "calibration", "reliability")
}
HOSTILE = [
    "| a | b",
    "`code`",
    "[click](javascript:alert(1))",
    "![](x)",
    "# head\n\n---",
    "<script>",
    "&amp; \\| **x**",
]


@pytest.fixture(scope="module")
def served(plain_path):
    with serve_here(f"sqlite:///{plain_path}") as served:
        yield served


@pytest.fixture(scope="module")
def detail(served):
    return served.read("/api/studies/1")


@pytest.fixture(scope="module")
def trials(plain_path):
    with closing(open_study_reader(str(plain_path))) as reader:
        return {trial.number: trial for trial in reader.trials(include_audits=True)}


def get_plot(detail, kind):
    (text,) = [plot["graph_object"] for plot in detail["plotly_graph_objects"] if plot["id"] == f"flatselect-{kind}"]
    return json.loads(text)


def read_table(note):
    """The cells of a note's table, as a Markdown parser that is not the dashboard's finds them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(note)
    cells = [
        "".join(child.content for child in tokens[index + 1].children)
        for index, token in enumerate(tokens)
        if token.type in ("th_open", "td_open")
    ]
    n_columns = sum(token.type == "th_open" for token in tokens)
    return [dict(zip(cells[:n_columns], row, strict=True)) for row in np.reshape(cells[n_columns:], (-1, n_columns))]


def test_values_are_those_that_optuna_was_told(plain_path, detail):
    with closing(open_study_reader(str(plain_path))) as reader:
        url = reader.engine.url.render_as_string(hide_password=False)
        told = optuna.load_study(study_name=reader.name(), storage=url).get_trials()
    shown = detail["trials"]
    assert [(trial["number"], trial["state"].upper()) for trial in shown] == [(t.number, t.state.name) for t in told]
    for trial, optunas in zip(shown, told, strict=True):
        assert trial.get("values") == optunas.values
        assert {v["step"]: v["value"] for v in trial["intermediate_values"]} == optunas.intermediate_values
    assert any(trial.get("values") for trial in shown)


def test_plots_are_the_reports_with_the_numbers_of_the_database(detail, trials):
    assert {plot["id"] for plot in detail["plotly_graph_objects"]} == OWN_PLOTS
    ranking = get_plot(detail, "ranking")["data"]
    scores = sorted((t.prediction.predicted_test_score for t in trials.values() if t.prediction), reverse=True)
    assert ranking[0]["x"] == scores
    audit = get_plot(detail, "audit")["data"]
    pairs = {(x, y) for trace in audit[1:] for x, y in zip(trace["x"], trace["y"], strict=True)}
    assert pairs == {(t.audit_test_score, t.prediction.predicted_test_score) for t in trials.values() if t.prediction}


def test_note_is_the_ranking(detail, plain_path):
    # By SQL: another way to the same numbers.
    with closing(sqlite3.connect(plain_path)) as connection:
        rows = connection.execute(
            "SELECT rank, number, model, predicted_test_score, train_score, audit_test_score "
            "FROM flatselect_ranking ORDER BY rank"
        ).fetchall()
    assert detail["note"]["version"] == 0
    shown = [
        (
            *(row["rank"], row["trial"], row["network"].removesuffix(", pruned")),
            *(row["predicted test score"].removesuffix("?"), row["training score"], row["audited score"]),
        )
        for row in read_table(detail["note"]["body"])
    ]
    assert shown == [
        (str(rank), str(number), model, f"{predicted:.4f}", f"{trained:.4f}", f"{audited:.4f}")
        for rank, number, model, predicted, trained, audited in rows
    ]


def test_without_an_audit_the_note_has_no_column_for_it(tmp_path):
    write_study(f"sqlite:///{tmp_path / 'digits.db'}", n_trials=7, audited=False)
    with serve_here(f"sqlite:///{tmp_path / 'digits.db'}") as served:
        detail = served.read("/api/studies/1")
    assert {plot["id"] for plot in detail["plotly_graph_objects"]} == OWN_PLOTS - {
        *("flatselect-audit", "flatselect-pruned")  # nothing is pruned so early
    }
    rows = read_table(detail["note"]["body"])
    assert len(rows) == 6
    assert {"flatness", "audited score"} & set(rows[0]) == {"flatness"}


def test_each_trial_has_its_story(detail, trials):
    for trial in [*detail["trials"], *detail["best_trials"]]:
        note, known = trial["note"]["body"], trials[trial["number"]]
        assert escape_markdown(known.model) in note
        if known.prediction:
            assert f"predicted test score {known.prediction.predicted_test_score:.4f}" in note
        if known.is_calibration:
            assert "held out a part" in note
            assert f"held-out score {known.measurement.holdout_score:.4f}" in note
        assert f", {known.epochs} epoch{'s' if known.epochs != 1 else ''}, " in note
        assert {"COMPLETE": ": complete", "PRUNED": ": pruned: epoch", "FAIL": ": fail: ValueError"}[
            known.state
        ] in note


@pytest.mark.parametrize("text", [*HOSTILE, EVIL])
def test_a_text_is_shown_as_it_is(text):
    table = f"| name | n |\n| :-- | --: |\n| {escape_markdown(text)} | 1 |\n"
    assert read_table(table) == [{"name": " ".join(text.split()), "n": "1"}]
    inline = MarkdownIt("commonmark").parseInline(escape_markdown(text))[0].children
    assert {token.type for token in inline} <= {"text", "text_special"}


def test_of_many_rows_the_first_are_in_view():
    def draw(n):
        rows = list(range(1, n + 1))
        labels = tuple(f"a name that is longer than half a page has room for {row}" for row in rows)
        axis = Axis("", labels=labels, from_top=True)
        return make_figure(Chart("kind", "title", Axis("x"), axis, (Series("", rows, rows),), "A <b>.", n_rows=n))

    few, many = draw(12)["layout"], draw(13)["layout"]
    assert few["yaxis"]["range"] == many["yaxis"]["range"] == [12.6, 0.4]
    assert "dragmode" not in few
    assert many["dragmode"] == "pan"
    assert many["title"]["subtitle"]["text"] == "A &lt;b&gt;. Drag the plot to see the rows from 13 to 13."
    assert all(len(label) <= 20 for label in many["yaxis"]["ticktext"])


def test_only_notes_can_be_written(plain_path, tmp_path):
    copy = shutil.copy(plain_path, tmp_path / "digits.db")
    with serve_here(f"sqlite:///{copy}") as served:
        for path, method, body in (
            ("/api/studies", "POST", {"study_name": "new", "directions": ["minimize"]}),
            ("/api/studies/1", "DELETE", {}),
            ("/api/studies/1/rename", "POST", {"study_name": "other"}),
            ("/api/trials/1/tell", "POST", {"state": "fail"}),
            ("/api/trials/1/user-attrs", "POST", {"user_attrs": {"a": 1}}),
        ):
            status, answer = served.ask(path, method, body)
            assert (status, "changes nothing but notes" in answer["reason"]) == (403, True), path
        before = served.read("/api/studies/1")
        assert copy.read_bytes() == plain_path.read_bytes()

        # A note that the user saves takes the place of ours, of which nothing was stored.
        assert served.ask("/api/studies/1/note", "PUT", {"version": 1, "body": "**mine**"})[0] == 204
        assert served.ask("/api/studies/1/2/note", "PUT", {"version": 1, "body": "of trial 1"})[0] == 204
        after = served.read("/api/studies/1")
        assert after["note"] == {"version": 1, "body": "**mine**"}
        assert [trial["note"]["body"] for trial in after["trials"] if trial["number"] != 1] == [
            trial["note"]["body"] for trial in before["trials"] if trial["number"] != 1
        ]
        assert after["trials"][1]["note"] == {"version": 1, "body": "of trial 1"}
    storage = make_optuna_storage(f"sqlite:///{copy}", create=False)
    written = storage.get_study_system_attrs(1)
    close_optuna_storage(storage)
    assert {key: value for key, value in written.items() if key.startswith("dashboard")} == {
        "dashboard:note_ver": 1,
        "dashboard:note_str:0": "**mine**",
        "dashboard:2:note_ver": 1,
        "dashboard:2:note_str:0": "of trial 1",
    }


@pytest.mark.postgresql
def test_on_a_server_it_shows_no_password(postgresql_url):
    write_study(postgresql_url, n_trials=8)
    with serve("digits", "--storage", add_password(postgresql_url)) as served:
        path = served.page.removeprefix(served.root).replace("/dashboard", "/api")
        detail = served.read(path)
        with closing(open_study_reader("digits", postgresql_url)) as reader:
            trials = {trial.number: trial for trial in reader.trials(include_audits=True)}
        predicted = [t.prediction.predicted_test_score for t in trials.values() if t.prediction]
        assert get_plot(detail, "ranking")["data"][0]["x"] == sorted(predicted, reverse=True)
        assert len(read_table(detail["note"]["body"])) == len(predicted)
        _, out, err = served.stop()
    assert "***" in err
    assert "secret" not in out + err + served.page
    assert "secret" not in json.dumps(detail)


def test_what_is_not_flatselects_is_left_alone(plain_path, tmp_path):
    copy = shutil.copy(plain_path, tmp_path / "digits.db")
    storage = make_optuna_storage(f"sqlite:///{copy}")
    other = optuna.create_study(study_name="other", storage=storage)
    other.add_trial(optuna.trial.create_trial(value=1.0))
    optuna.copy_study(
        from_study_name="digits", from_storage=storage, to_storage=storage, to_study_name="copy"
    )  # with its uid
    close_optuna_storage(storage)
    with serve_here(f"sqlite:///{copy}") as served:
        names = {study["study_name"]: study["study_id"] for study in served.read("/api/studies")["study_summaries"]}
        for name, n_plots in (("digits", len(OWN_PLOTS)), ("other", 0), ("copy", 0)):
            detail = served.read(f"/api/studies/{names[name]}")
            assert (len(detail["plotly_graph_objects"]), bool(detail["note"]["body"])) == (n_plots, n_plots > 0), name
        assert served.ask("/api/studies/99")[0] == 404


def test_additions_follow_the_search_and_are_kept_for_a_while(plain_path, tmp_path):
    copy = shutil.copy(plain_path, tmp_path / "digits.db")
    url = f"sqlite:///{copy}"
    storage, engine = make_optuna_storage(url, create=False), make_engine(url)
    # Making them takes 3 seconds by this clock: a tenth of the time from 3 to 33.
    times = iter([0, 3, 32, 33, 36])
    cache = AdditionsCache(storage, lambda: next(times))
    first = cache.find(1)
    with closing(open_study_reader(str(copy))) as reader:
        StudyWriter(engine, reader.study_uid).add_audit(0, 0.123, None, 500)
    assert cache.find(1) is first
    second = cache.find(1)
    assert second.plots["flatselect-audit"] != first.plots["flatselect-audit"]
    assert second.plots["flatselect-gap"] == first.plots["flatselect-gap"]
    assert "audited score 0.1230" in second.trial_notes[0]
    cache.close()
    engine.dispose()
    close_optuna_storage(storage)


def test_without_our_tables_it_is_optunas_alone(plain_path, tmp_path, capsys):
    copy = shutil.copy(plain_path, tmp_path / "digits.db")
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("DELETE FROM flatselect_studies")
        connection.commit()
    with serve_here(f"sqlite:///{copy}") as served:
        for _ in range(2):
            detail = served.read("/api/studies/1")
            assert (detail["plotly_graph_objects"], len(detail["trials"])) == ([], 14)
    assert capsys.readouterr().err.count("without flatselect's plots and notes: ") == 1


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root, to become one who may not write")
def test_a_database_that_may_not_be_written_is_shown(plain_path):
    """By a process of a user who may read the file, and write neither it nor its folder."""
    folder = Path(tempfile.mkdtemp(prefix="flatselect-read-only-"))  # pytest's own only their owner may enter
    try:
        copy = Path(shutil.copy(plain_path, folder / "digits.db"))
        copy.chmod(0o444)
        folder.chmod(0o555)
        # Each once before, as who it becomes may not even read Python's own files.
        code = (
            "import json, os, sys\n"
            "from wsgiref.util import setup_testing_defaults\n"
            "from flatselect.dashboard.additions import AdditionsCache\n"
            "from flatselect.dashboard.server import make_app\n"
            "from flatselect.store.optuna_storage import make_optuna_storage\n"
            "def ask(path):\n"
            "    storage = make_optuna_storage(f'sqlite:///{path}', create=False)\n"
            "    request = {'PATH_INFO': '/api/studies/1'}\n"
            "    setup_testing_defaults(request)\n"
            "    answer = make_app(storage, AdditionsCache(storage))(request, lambda *_: None)\n"
            "    return json.loads(b''.join(answer))\n"
            "before = ask(sys.argv[1])\n"
            "os.setuid(65534)\n"
            "after = ask(sys.argv[2])\n"
            "print(len(after['trials']), after['plotly_graph_objects'] == before['plotly_graph_objects'])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(plain_path), str(copy)], capture_output=True, text=True, check=False
        )
        assert done.stdout == "14 True\n", done
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_serves_this_machine_until_ctrl_c(plain_path):
    with serve(plain_path) as served:
        assert served.page == f"{served.root}/dashboard/studies/1"
        assert served.root.startswith("http://127.0.0.1:")
        assert served.read("/api/studies/1/param_importances")
        ended = served.stop(signal.SIGINT)
    assert ended == (0, "", f"studies of sqlite:///{plain_path}; Ctrl-C ends it\nended\n")


def test_serves_others_on_demand_until_a_container_is_stopped(plain_path):
    with serve(f"sqlite:///{plain_path}", "--host", "0.0.0.0") as served:
        assert served.page.startswith(f"http://{socket.gethostname()}:")
        assert served.page.endswith("/dashboard/studies/1")
        code, out, err = served.stop(signal.SIGTERM)
    assert (code, out) == (0, "")
    assert "there is no password" in err
    assert err.endswith("ended\n")


def refuse(*arguments):
    done = CliRunner().invoke(cli, ["dashboard", *map(str, arguments)])
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    return " ".join(done.stderr.split())


def test_a_port_in_use_is_refused_with_what_to_do(plain_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        message = refuse(plain_path, "--port", taken.getsockname()[1])
    assert "--port 0" in message
    assert "in use" in message


def test_what_is_not_there_is_refused(tmp_path, plain_path, monkeypatch):
    assert "no such database" in refuse(tmp_path / "none.db")
    sqlite3.connect(tmp_path / "empty.db").close()
    assert "holds no study; `flatselect search" in refuse(tmp_path / "empty.db")
    assert "no study 'absent'" in refuse("absent", "--storage", f"sqlite:///{plain_path}")
    for name in ("optuna_dashboard", "flatselect.dashboard.server"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert "pip install 'flatselect[dashboard]'" in refuse(plain_path)


def test_optuna_dashboard_by_hand_shows_the_study(plain_path, tmp_path, trials):
    copy = shutil.copy(plain_path, tmp_path / "digits.db")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with serve_by_hand(f"sqlite:///{copy}", port) as served:
        detail = served.read("/api/studies/1")
    assert detail["objective_names"] == ["predicted test score"]
    for trial in detail["trials"]:
        known = trials[trial["number"]]
        assert {value["step"] for value in trial["intermediate_values"]} == set(range(1, known.epochs + 1))
    assert len(detail["trials"]) == len(trials)
    assert detail["plotly_graph_objects"] == []  # ours are nowhere in the database


def test_the_best_models_are_artifacts_made_when_they_are_asked_for(tmp_path):
    (tmp_path / "tiny.toml").write_text(STUDY)
    config = flatselect.load_study_file(tmp_path / "tiny.toml")
    result = flatselect.run_search(config)
    with serve_here(config.study.storage) as served:
        assert served.read("/api/meta")["artifact_is_available"]
        shown = {trial["number"]: trial for trial in served.read("/api/studies/1")["trials"]}
        assert {number for number, trial in shown.items() if trial["artifacts"]} == set(result.ranking)
        number = result.ranking[0]
        (artifact,) = shown[number]["artifacts"]
        assert artifact["filename"] == f"trial-{number}.pt"
        address = f"{served.root}/artifacts/1/{shown[number]['trial_id']}/{artifact['artifact_id']}"
        with urllib.request.urlopen(address) as answer:
            (tmp_path / "sent.pt").write_bytes(answer.read())
            assert artifact["filename"] in answer.headers["Content-Disposition"]
        with pytest.raises(urllib.error.HTTPError, match="404") as unknown:
            urllib.request.urlopen(address[:-4] + "0000")
        unknown.value.close()
        with closing(open_study_reader(str(tmp_path / "tiny.toml"))) as reader:
            write_model(read_trial_model(reader, number), tmp_path / "exported.pt")
            Path(reader.checkpoints()[number].path).unlink()
        with pytest.raises(urllib.error.HTTPError, match="409") as refused:
            urllib.request.urlopen(address)
        with refused.value as error:
            assert f"trial-{number:05}" in error.read().decode()
    sent, exported = flatselect.load(tmp_path / "sent.pt"), flatselect.load(tmp_path / "exported.pt")
    assert sent.provenance["trial"] == exported.provenance["trial"]
    assert all(torch.equal(value, exported.state_dict()[name]) for name, value in sent.state_dict().items())
