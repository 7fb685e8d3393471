"""A study with trials of every kind, as a search would have left it."""

import uuid

import optuna

from flatselect.records import EpochMeasurement, Failure, Prediction
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.study_reader import RETRAINS_ATTRIBUTE, UID_ATTRIBUTE
from flatselect.store.study_writer import StudyWriter

N_TRIALS = 10


def measure(number, epoch, flatness=True, holdout=None):
    return EpochMeasurement(
        epoch=epoch,
        train_score=0.5 + number / 30 + epoch / 100,
        train_loss=1 / (number + epoch),
        n_train_images=100,
        n_parameters=1000 + number,
        relative_gap_flatness=1.0 / (number + 1) + epoch if flatness else None,
        layer="conv" if flatness else None,
        exactness="hessian" if flatness else None,
        flatness_standard_error=0.01 * epoch if flatness and number != 4 else None,  # 4: as of an earlier version
        companions={"latency_ms": 1.5, "margin": 0.1 * number},
        holdout_score=holdout,
        train_seconds=1.0,
        measure_seconds=0.25,
    )


def record_study(url, name="digits"):
    """Complete 0-3 (0 calibrates and was lost once, 3 retrains 2), pruned 4-5, failed 6-7, running 8, waiting 9."""
    storage, engine = make_optuna_storage(url), make_engine(url)
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    study.set_user_attr(UID_ATTRIBUTE, uuid.uuid4().hex)
    writer = StudyWriter.create(engine, study.user_attrs[UID_ATTRIBUTE], name, {}, {})
    run = writer.start_run("host", 1, "inline", {}, {})
    old, new, _ = (writer.add_calibrator({"n": n}, {}) for n in range(3))  # the last has said nothing yet
    for number in range(9):
        trial = study.ask()
        trial.suggest_float("learning_rate", 0.001, 0.1, log=True)
        trial.suggest_int("width", 8 + number, 64)
        trial.suggest_categorical("block", ["plain", "resi'dual"])
        trial.suggest_categorical("bias", [True, False])
        if number % 2:
            trial.suggest_categorical("crop size", [1, 2.5])
            trial.suggest_categorical("pool", [2, "all", None])
        if number == 3:
            trial.set_user_attr(RETRAINS_ATTRIBUTE, 2)
        if number == 7:
            trial.set_user_attr("flatselect:failure", "ModelError: cannot be built")
            study.tell(7, state=optuna.trial.TrialState.FAIL)
            continue
        attempts = 2 if number == 0 else 1
        for attempt in range(1, attempts + 1):
            writer.start_attempt(number, attempt, run, is_calibration=number == 0, candidate={}, model=f"cnn {number}")
            if attempt < attempts:
                writer.end_attempt(number, attempt, "lost", failure=Failure("WorkerLost", "signal 9"))
        curve = [measure(number, epoch, epoch != 3, 0.4 if number == 0 else None) for epoch in (1, 2, 3)]
        if number in (4, 6):
            curve = [measure(number, 1, flatness=False)]
        writer.add_measurements(number, attempts, curve)
        if number in (0, 1, 2, 3, 5):
            score = 1.0 if number in (1, 2) else 0.6 + number / 100
            predicted = Prediction(0.1, (0.05, 0.15 + number / 100), score, (0.5, 1.0), extrapolation=number == 5)
            writer.add_predictions(old, {(number, 2): Prediction(0.9, (0.9, 0.9), 0.1, (0.1, 0.1))})
            writer.add_predictions(new, {(number, 2): predicted})
        if number < 4:
            study.tell(number, 0.8)
            writer.end_attempt(number, attempts, "complete")
            writer.add_audit(number, 0.7 + number / 100, 1.0, 100)
        elif number < 6:
            study.tell(number, state=optuna.trial.TrialState.PRUNED)
            writer.end_attempt(number, 1, "pruned", pruned_because="its upper bound 0.4 falls short of 0.8")
        elif number == 6:
            study.tell(number, state=optuna.trial.TrialState.FAIL)
            writer.end_attempt(number, 1, "fail", failure=Failure("NonFiniteError", "the loss is nan\nat step 3"))
    writer.set_checkpoint(8, 4, "x", "y", 5)
    study.enqueue_trial({"width": 32})
    close_optuna_storage(storage)
    engine.dispose()
