"""Whole searches, inline: what they decide, remember, and never look at."""

import hashlib
import json
import os
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from searching import Listener, MakeStudy, StopAfter, Undisturbed, comparable, open_reader, read_weights
from sklearn.datasets import load_digits

from flatselect.data.loading import load_audit_set, load_training_set
from flatselect.errors import SearchError
from flatselect.exporting.loading import load
from flatselect.exporting.model_files import write_model
from flatselect.exporting.trial_model import read_trial_model
from flatselect.pruning import PRUNED_ATTRIBUTE, FlatnessPruner
from flatselect.records import TrialRecord
from flatselect.search.events import SearchStatus
from flatselect.search.run import run_search


def test_a_search_ends_with_a_ranking_by_predicted_test_score(undisturbed: Undisturbed) -> None:
    _, result = undisturbed
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["study"] == "tiny"
    assert len(document["trials"]) == 8
    assert [trial["number"] for trial in document["trials"]] == list(range(8))
    assert document["calibrator"]["n_groups"] == 4
    for trial in document["trials"]:
        assert trial["state"] in ("COMPLETE", "PRUNED")
        assert trial["attempts"] == 1
        low, high = trial["predicted_test_gap_interval"]
        assert low <= trial["predicted_test_gap"] <= high
        expected = min(max(trial["train_score"] - trial["predicted_test_gap"], 0), 1)
        assert trial["predicted_test_score"] == pytest.approx(expected)
        low, high = trial["predicted_test_score_interval"]
        assert low <= trial["predicted_test_score"] <= high
        assert trial["relative_gap_flatness"] > 0
        assert trial["hessian_trace"] > 0
        assert 0 <= trial["audit_test_score"] <= 1
        assert trial["failure"] is None
        assert trial["is_calibration"] == (trial["number"] < 4)
        assert (trial["holdout_score"] is not None) == trial["is_calibration"]
    assert sorted(document["ranking"]) == list(range(8))
    ranked = [document["trials"][number]["predicted_test_score"] for number in document["ranking"]]
    assert ranked == sorted((trial["predicted_test_score"] for trial in document["trials"]), reverse=True)


def test_calibration_trials_hold_out_a_part_and_later_ones_nothing(undisturbed: Undisturbed) -> None:
    config, _ = undisturbed
    reader = open_reader(config.study.storage)
    curves = reader.measurements()
    for number, curve in curves.items():
        assert [m.epoch for m in curve] == list(range(1, len(curve) + 1))
        n_train = 105 if number < 4 else 150
        assert all(m.n_train_images == n_train for m in curve)
        assert all(m.n_holdout_images == 150 - n_train for m in curve)
        assert all((m.test_gap is None) == (number >= 4) for m in curve)


def test_optuna_hears_only_the_objectives_unit(undisturbed: Undisturbed) -> None:
    config, result = undisturbed
    study = optuna.load_study(study_name="tiny", storage=config.study.storage)
    records = {trial.number: trial for trial in result.trials}
    for trial in study.trials:
        assert all(0 <= value <= 1 for value in trial.intermediate_values.values())
        record = records[trial.number]
        if record.state == "COMPLETE":
            assert record.measurement is not None
            assert record.prediction is not None
            told = record.measurement.holdout_score if record.is_calibration else record.prediction.predicted_test_score
            assert trial.value == pytest.approx(told)
    assert study.best_trial.state == optuna.trial.TrialState.COMPLETE


def test_the_same_seed_searches_the_same(make_study: MakeStudy, undisturbed: Undisturbed) -> None:
    assert comparable(run_search(make_study())) == comparable(undisturbed[1])
    other = run_search(make_study("study.seed=6", "study.trials=4", folder="other"))
    assert [t.params for t in other.trials] != [t.params for t in undisturbed[1].trials[:4]]


def test_only_pruned_trials_say_why_they_were_pruned(undisturbed: Undisturbed) -> None:
    study = optuna.load_study(study_name="tiny", storage=undisturbed[0].study.storage)
    saying = {trial.number for trial in study.trials if PRUNED_ATTRIBUTE in trial.user_attrs}
    assert saying == {trial.number for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED}
    assert saying


def test_a_trial_is_not_pruned_after_its_last_epoch(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def explain(self: FlatnessPruner, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> str | None:
        return "too late" if trial.last_step == 3 else None

    monkeypatch.setattr(FlatnessPruner, "explain", explain)
    config = make_study()
    assert {trial.state for trial in run_search(config).trials} == {"COMPLETE"}
    study = optuna.load_study(study_name="tiny", storage=config.study.storage)
    assert not any(PRUNED_ATTRIBUTE in trial.user_attrs for trial in study.trials)


@pytest.mark.postgresql
def test_postgresql_searches_the_same(make_study: MakeStudy, undisturbed: Undisturbed, postgresql_url: str) -> None:
    result = run_search(make_study(f"study.storage={postgresql_url}"))
    assert comparable(result) == comparable(undisturbed[1])
    assert result.ranking == undisturbed[1].ranking
    with closing(open_reader(postgresql_url)) as reader:
        assert [t.to_json() for t in reader.trials(include_audits=True)] == [t.to_json() for t in result.trials]


def test_decisions_never_see_the_audit(make_study: MakeStudy, tiny_text: str, tmp_path: Path) -> None:
    """The same search with the true, with shuffled and with no audit labels decides the same."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) * 15).astype(np.uint8)
    shuffled = np.random.default_rng(0).permutation(labels[200:400])
    np.savez(tmp_path / "true.npz", images=images[200:400], labels=labels[200:400])
    np.savez(tmp_path / "shuffled.npz", images=images[200:400], labels=shuffled)
    results = [
        run_search(make_study(f"data.audit=arrays:{tmp_path}/{name}.npz", "data.audit_size=150", folder=name))
        for name in ("true", "shuffled")
    ]
    text = tiny_text.replace('audit = "digits"\n', "").replace("audit_size = 100\n", "")
    without = run_search(make_study(folder="none", text=text))
    true, wrong = results
    assert {t.state for t in true.trials} > {"COMPLETE"}  # decisions were made: some trial was pruned
    assert true.ranking == wrong.ranking == without.ranking
    assert comparable(true, "audit_test_score") == comparable(wrong, "audit_test_score")
    assert comparable(true, "audit_test_score") == comparable(without, "audit_test_score")
    assert all(t.audit_test_score is None for t in without.trials)
    best = [max(t.audit_test_score for t in r.trials) for r in results]  # type: ignore[type-var]
    assert best[0] > best[1] + 0.1  # the audits themselves differ: the comparison above can fail


def test_the_audited_score_is_the_models_own(undisturbed: Undisturbed, tmp_path: Path) -> None:
    config, result = undisturbed
    reader = open_reader(config.study.storage)
    path = tmp_path / "model.pt"
    write_model(read_trial_model(reader, None), path)
    model = load(path)
    best = next(t for t in result.trials if t.number == result.ranking[0])
    assert model.provenance["trial"]["number"] == best.number
    train = load_training_set(config.data, config.study.seed)
    audit = load_audit_set(config.data, train, config.study.seed)
    images, labels = next(iter(audit.batches(1000, "cpu")))
    with torch.no_grad():
        score = (model(images).argmax(1) == labels).double().mean()
    assert best.audit_test_score == pytest.approx(float(score))


@pytest.mark.parametrize("n_epochs", [0, 1, 5, 12, 16])
def test_an_interrupted_search_goes_on_as_if_nothing_had_been(
    make_study: MakeStudy, undisturbed: Undisturbed, n_epochs: int
) -> None:
    config = make_study()
    with pytest.raises(KeyboardInterrupt):
        run_search(config, StopAfter(n_epochs))
    resumed = run_search(config)
    assert comparable(resumed, "attempts") == comparable(undisturbed[1], "attempts")
    assert max(t.attempts for t in resumed.trials) <= 2
    one = read_weights(open_reader(config.study.storage))
    other = read_weights(open_reader(undisturbed[0].study.storage))
    assert one.keys() == other.keys()
    for number, weights in one.items():
        assert all(torch.equal(weights[name], other[number][name]) for name in weights)


def test_an_interruption_is_kept_as_resumable(make_study: MakeStudy) -> None:
    config = make_study()

    class Stop(Listener):
        def show(self, status: SearchStatus) -> None:
            if status.n_epochs_run == 5:
                os.kill(os.getpid(), 2)

    listener = Stop()
    result = run_search(config, listener)
    assert result.interrupted
    assert any("go" in message and "kept" in message for message in listener.messages)
    assert [t.state for t in result.trials] == ["COMPLETE", "RUNNING"]
    reader = open_reader(config.study.storage)
    assert [attempt.outcome for attempt in reader.attempts()] == ["complete", "interrupted"]
    assert reader.runs()[-1].outcome == "interrupted"
    assert result.ranking == [] or result.ranking == [0]


def test_more_trials_may_be_added_to_a_finished_search(make_study: MakeStudy) -> None:
    first = run_search(make_study("study.trials=5"))
    again = run_search(make_study("study.trials=5"))
    assert comparable(first) == comparable(again)
    more = run_search(make_study("study.trials=7"))
    assert len(more.trials) == 7
    assert comparable(more)[:5] == comparable(first)
    assert all(t.audit_test_score is not None for t in more.trials)


def test_a_run_is_told_apart_by_what_it_ran(make_study: MakeStudy) -> None:
    for n_trials in (5, 6, 6, 7):
        config = make_study(f"study.trials={n_trials}", "training.epochs=1")
        run_search(config)
    reader = open_reader(str(config.study.storage))
    runs = reader.runs()  # the third had nothing left to do
    assert [run.config["study"]["trials"] for run in runs] == [5, 6, 7]
    for run in runs:
        plain = json.dumps(run.config, sort_keys=True, separators=(",", ":"))
        assert run.config_sha256 == hashlib.sha256(plain.encode()).hexdigest()
    assert len({run.config_sha256 for run in runs}) == 3
    assert {run.data_fingerprint for run in runs} == {load_training_set(config.data, config.study.seed).fingerprint}
    (kind,) = {run.host_kind for run in runs}
    assert str(kind).startswith(f"{os.uname().sysname} {os.uname().machine}, {os.cpu_count()} CPU")


def test_a_calibrator_made_before_is_used(make_study: MakeStudy, undisturbed: Undisturbed, tmp_path: Path) -> None:
    stored = open_reader(undisturbed[0].study.storage).latest_calibrator()
    assert stored is not None
    (tmp_path / "calibrator.json").write_text(json.dumps(stored[1]))
    result = run_search(make_study(f"calibration.artifact={tmp_path}/calibrator.json", "study.trials=3"))
    assert not any(t.is_calibration for t in result.trials)
    assert all(t.prediction is not None for t in result.trials)


def test_other_settings_under_the_same_name_are_refused(make_study: MakeStudy, tmp_path: Path) -> None:
    run_search(make_study("study.trials=4"))
    with pytest.raises(SearchError, match=r"(?s)training\.epochs: was 3, is 4.*study\.name"):
        run_search(make_study("training.epochs=4"))
    images, labels = load_digits(return_X_y=True)
    np.savez(tmp_path / "other.npz", images=images.reshape(-1, 8, 8).astype(np.uint8), labels=labels)
    with pytest.raises(SearchError, match="training images"):
        run_search(make_study(f"data.train=arrays:{tmp_path}/other.npz"))


def test_a_study_older_than_a_key_was_made_under_its_default(make_study: MakeStudy) -> None:
    config = make_study("study.trials=4", "training.epochs=1")
    run_search(config)
    with closing(sqlite3.connect(config.study.storage.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(
            "UPDATE flatselect_studies SET config = json_remove(config, '$.training.flatness_penalty',"
            " '$.training.flatness_penalty_images')"
        )
    assert len(run_search(make_study("study.trials=5", "training.epochs=1")).trials) == 5
    with pytest.raises(SearchError, match=r"training\.flatness_penalty: was 0\.0, is 0\.1"):
        run_search(make_study("training.epochs=1", "training.flatness_penalty=0.1"))


def test_the_flatness_penalty_of_a_study_reaches_its_trials(make_study: MakeStudy, undisturbed: Undisturbed) -> None:
    penalised = run_search(make_study("study.trials=4", "training.flatness_penalty=0.1"))
    for with_penalty, without in zip(penalised.trials, undisturbed[1].trials, strict=False):
        assert with_penalty.params == without.params
        assert with_penalty.measurement is not None
        assert without.measurement is not None
        assert with_penalty.measurement.relative_gap_flatness < without.measurement.relative_gap_flatness


def test_extras_and_unlabelled_images_reach_the_calibration(
    make_study: MakeStudy, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(30, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "deployed.npz", images=pixels)
    config = make_study(
        "study.trials=5",
        'measure.extras=["noise", "mixup"]',
        f"data.unlabeled=arrays:{tmp_path / 'deployed.npz'}",
        "data.unlabeled_size=20",
    )
    result = run_search(config)
    companions = result.trials[4].measurement.companions
    assert {"noise_accuracy", "mixup_loss", "unlabeled_confidence"} <= set(companions)
    assert not any(name.startswith("augmentation") for name in companions)
    assert {"noise_agreement", "unlabeled_nuclear_norm"} <= set(result.calibrator["features"])
    # What is measured besides changes no weight: the first trials are those of the study without it.
    assert [t.measurement.train_loss for t in result.trials[:4]] == [
        t.measurement.train_loss for t in undisturbed[1].trials[:4]
    ]


def test_a_study_of_another_program_is_not_touched(make_study: MakeStudy) -> None:
    config = make_study()
    study = optuna.create_study(study_name="tiny", storage=config.study.storage)
    study.tell(study.ask(), 1.0)
    with pytest.raises(SearchError, match="not made by flatselect"):
        run_search(config)


def test_a_second_search_is_refused_while_one_is_alive(make_study: MakeStudy) -> None:
    config = make_study("study.trials=4")
    run_search(config)
    database = config.study.storage.removeprefix("sqlite:///")

    def claim(pid: int) -> None:
        with closing(sqlite3.connect(database)) as connection, connection:
            values = (pid, socket.gethostname())
            connection.execute("UPDATE flatselect_runs SET ended_at = NULL, pid = ?, host = ?", values)

    claim(os.getppid())
    with pytest.raises(SearchError, match=f"being searched by process {os.getppid()}.* on PostgreSQL"):
        run_search(make_study("study.trials=5"))
    claim(999999999)
    assert len(run_search(make_study("study.trials=5")).trials) == 5
    claim(os.getpid())  # a search of this process that could not say its end
    assert len(run_search(make_study("study.trials=6")).trials) == 6


# Candidates that fail in every way, as a user's own factory would.
FACTORIES = """
import torch
from torch import nn

class Raises(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.calls = 0
    def forward(self, images):
        if self.training:
            raise RuntimeError("the user's own mistake")
        return self.inner(images)

def small(in_channels, n_classes, failing=False):
    pooled = nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    net = nn.Sequential(pooled, nn.Flatten(), nn.Linear(4, n_classes))
    return Raises(net) if failing else net

def without_pooling(n_classes):
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, n_classes))
"""

FAILING = """
[study]
name = "tiny"
trials = 9
seed = 4
[data]
train = "digits"
size = 100
[search_space]
failing = { type = "categorical", choices = [true, false] }
[model]
name = "own_nets:small"
[training]
epochs = 2
[measure]
probe = 30
[calibration]
trials = 4
[ray]
backend = "inline"
"""


@pytest.fixture
def own_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own_nets")
def test_a_failing_candidate_fails_alone(make_study: MakeStudy) -> None:
    result = run_search(make_study("study.max_failures_in_row=9", text=FAILING))
    failed = [t for t in result.trials if t.state == "FAIL"]
    assert {t.number for t in failed} == {t.number for t in result.trials if t.params["failing"]}
    assert 0 < len(failed) < 9
    assert all(t.failure == "RuntimeError: the user's own mistake" for t in failed)
    # Calibration trials that failed were replaced: four held out a part and lived.
    assert sum(t.is_calibration and t.state == "COMPLETE" for t in result.trials) == 4
    assert not {t.number for t in failed} & set(result.ranking)
    reader = open_reader(make_study(text=FAILING).study.storage)
    failures = [attempt.failure for attempt in reader.attempts() if attempt.outcome == "fail"]
    assert all(failure is not None and "the user's own mistake" in failure.traceback for failure in failures)


@pytest.mark.usefixtures("own_nets")
def test_failures_in_a_row_end_the_search(make_study: MakeStudy) -> None:
    text = FAILING.replace('{ type = "categorical", choices = [true, false] }', "true")
    result = run_search(make_study("study.max_failures_in_row=3", text=text))
    assert len(result.trials) == 3
    assert result.stopped_because is not None
    assert "the user's own mistake" in result.stopped_because
    assert result.ranking == []


@pytest.mark.usefixtures("own_nets")
def test_a_head_that_cannot_be_measured_is_refused_before_training(make_study: MakeStudy) -> None:
    text = FAILING.replace("own_nets:small", "own_nets:without_pooling").replace(
        'failing = { type = "categorical", choices = [true, false] }', ""
    )
    with pytest.raises(SearchError, match=r"no candidate can be searched.*layer='0' measures it all the same"):
        run_search(make_study(text=text))
    # Named, the layer is measured, in a network whose map is flattened too.
    result = run_search(make_study('measure.layer="0"', "study.name=named", text=text))
    assert {trial.measurement.layer for trial in result.trials if trial.measurement} == {"0"}
    assert len(result.ranking) == 9


def test_divergence_fails_the_trial_with_its_reason(make_study: MakeStudy, tiny_text: str) -> None:
    text = tiny_text.replace("low = 0.01, high = 0.2, log = true", "low = 1e29, high = 1e30, log = true")
    result = run_search(make_study("study.max_failures_in_row=2", text=text))
    assert [t.state for t in result.trials] == ["FAIL", "FAIL"]
    assert all("NonFiniteError" in str(t.failure) and "learning_rate" in str(t.failure) for t in result.trials)


def test_a_checkpoint_lost_between_two_runs_costs_epochs_not_the_trial(
    make_study: MakeStudy, undisturbed: Undisturbed
) -> None:
    config = make_study()
    with pytest.raises(KeyboardInterrupt):
        run_search(config, StopAfter(5))
    for file in Path(config.study.checkpoints).rglob("*.pt"):
        file.write_bytes(file.read_bytes()[:100])
    resumed = run_search(config)
    # The first trial was finished and only its weights are gone: it cannot be audited; all else is as it was.
    assert comparable(resumed, "attempts", "audit_test_score") == comparable(
        undisturbed[1], "attempts", "audit_test_score"
    )
    assert resumed.trials[0].audit_test_score is None


def test_a_time_limit_starts_no_new_trial_but_predicts(make_study: MakeStudy) -> None:
    class Slow(Listener):
        def show(self, status: SearchStatus) -> None:
            if status.n_done >= 3:
                time.sleep(2)

    result = run_search(make_study("study.timeout=2.0", "training.epochs=1"), Slow())
    assert 2 <= len(result.trials) < 8
    assert all(isinstance(t, TrialRecord) and t.prediction is not None for t in result.trials)


def test_progress_counts_what_happens(make_study: MakeStudy) -> None:
    listener = Listener()
    result = run_search(make_study(), listener)
    last = listener.statuses[-1]
    assert last.n_done + last.n_pruned == 8
    assert last.n_epochs_run == sum(t.epochs for t in result.trials)
    assert last.best is not None
    assert last.best[0] == result.ranking[0]
    assert last.n_audited == last.n_to_audit == 8
