"""Candidates that fail: each alone, with its reason, and the worker goes on."""

from contextlib import closing
from pathlib import Path

import pytest
from faulty_nets import N_AUDITED
from searching import Listener, MakeStudy, check_books, open_reader

from flatselect.search.run import run_search

FAULTY = """
[study]
name = "tiny"
trials = 20
seed = 1
max_failures_in_row = 20
sampler = "random"
[data]
train = "digits"
size = 100
[search_space]
fault = { type = "categorical", choices = ["none", "neither", "raises", "nan", "nan_evaluated", "cuda"] }
width = { type = "int", low = 3, high = 8 }
[model]
name = "faulty_nets:small"
args = { after = 5 }
[training]
epochs = 2
batch_size = 20
[measure]
probe = 30
[calibration]
trials = 4
[pruner]
name = "none"
[ray]
workers = 1
"""


@pytest.mark.parametrize("backend", ["inline", pytest.param("ray", marks=pytest.mark.ray)])
def test_each_failing_candidate_fails_alone(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """In the second epoch. Running out of CUDA memory is injected: there is no GPU here to run out of."""
    monkeypatch.chdir(tmp_path)
    Path("broken").touch()
    Path("faulty_nets.py").write_text(Path(__file__).with_name("faulty_nets.py").read_text())  # for Ray's workers
    config = make_study(f"ray.backend={backend}", text=FAULTY)
    result = run_search(config)
    assert result.stopped_because is None
    reasons = {
        "raises": "RuntimeError: the user's own mistake",
        "nan": "NonFiniteError: the training loss is nan in epoch 2",
        "nan_evaluated": "NonFiniteError: ",
        "cuda": "CudaOutOfMemory: CUDA out of memory. Tried to allocate 20.00 GiB; use a smaller batch_size",
    }
    assert {trial.params["fault"] for trial in result.trials} == {"none", "neither", *reasons}
    for trial in result.trials:
        fault = trial.params["fault"]
        assert trial.state == ("COMPLETE" if fault not in reasons else "FAIL")
        assert str(trial.failure or "").startswith(reasons.get(fault, ""))
        assert trial.attempts == 1, "no worker was lost"
        assert trial.epochs == (2 if fault not in reasons else 1)
    with closing(open_reader(str(config.study.storage))) as reader:
        check_books(reader)
        tracebacks = {a.trial_number: a.failure.traceback for a in reader.attempts() if a.failure}
    raised = next(trial.number for trial in result.trials if trial.params["fault"] == "raises")
    assert "faulty_nets.py" in tracebacks[raised]


@pytest.mark.ray
def test_a_candidate_that_hangs_is_ended_and_its_worker_replaced(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken").touch()
    Path("faulty_nets.py").write_text(Path(__file__).with_name("faulty_nets.py").read_text())
    text = FAULTY.replace('"none", "neither", "raises", "nan", "nan_evaluated", "cuda"', '"none", "neither", "hangs"')
    limits = ("study.trials=7", "study.trial_timeout=10")
    config = make_study("ray.backend=ray", *limits, text=text)
    result = run_search(config)
    hung = [trial for trial in result.trials if trial.params["fault"] == "hangs"]
    assert 0 < len(hung) < len(result.trials) == 7
    for trial in result.trials:
        assert trial.state == ("FAIL" if trial in hung else "COMPLETE")
        assert trial.attempts == 1
    assert {trial.failure for trial in hung} == {
        "TrialTimeout: it took more than 10 seconds (study.trial_timeout), 1 epochs in"
    }
    with closing(open_reader(str(config.study.storage))) as reader:
        check_books(reader)


@pytest.mark.ray
def test_an_audit_that_hangs_is_given_up_and_the_others_go_on(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("faulty_nets.py").write_text(Path(__file__).with_name("faulty_nets.py").read_text())
    faults = '"none", "neither", "raises", "nan", "nan_evaluated", "cuda"'
    text = FAULTY.replace(faults, '"none", "neither", "sound", "hangs_audited"')
    searched = run_search(make_study("ray.backend=inline", "study.trials=6", text=text))
    assert {trial.state for trial in searched.trials} == {"COMPLETE"}
    hanging = {trial.number for trial in searched.trials if trial.params["fault"] == "hangs_audited"}
    assert 0 < len(hanging) < 6
    Path("broken").touch()
    listener = Listener()
    audit = ("data.audit=digits", f"data.audit_size={N_AUDITED}", "study.trial_timeout=6")
    result = run_search(make_study("ray.backend=ray", "study.trials=6", *audit, text=text), listener)
    assert {trial.number for trial in result.trials if trial.audit_test_score is None} == hanging
    assert sum("not audited, it took more than 6 seconds" in line for line in listener.messages) == len(hanging)
