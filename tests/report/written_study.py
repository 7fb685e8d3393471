"""A study in a database as a search leaves it, made in a moment: Optuna's trials, measurements, predictions, audits."""

import uuid
from contextlib import closing

import numpy as np
import optuna

from flatselect.calibration.calibration_row import make_calibration_row
from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.config import StudySection
from flatselect.pruning import CALIBRATION_ATTRIBUTE, PRUNED_ATTRIBUTE, FlatnessPruner
from flatselect.records import EpochMeasurement, Failure
from flatselect.search.telling import name_metrics
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import make_optuna_storage
from flatselect.store.study_reader import UID_ATTRIBUTE, StudyReader
from flatselect.store.study_writer import StudyWriter

N_EPOCHS, N_CALIBRATION = 6, 5
# Of one that is searched, where checkpoints are wanted.
STUDY = """
[study]
name = "tiny"
trials = 5
[data]
train = "digits"
size = 60
[search_space]
width = { type = "int", low = 3, high = 6 }
[training]
epochs = 1
[calibration]
trials = 4
[ray]
backend = "inline"
"""
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"


def measure(params, epoch, *, is_held_out, rng):
    """Learns faster with a higher learning rate; the flatter, the smaller its gap."""
    progress = 1 - np.exp(-epoch * 8 * params["learning_rate"] * params["width"] / 16)
    train_score = float(np.clip(0.3 + 0.65 * progress + rng.normal(0, 0.005), 0, 1))
    flatness = float(np.exp(1.5 * (1 - progress) + rng.normal(0, 0.2)))
    gap = 0.02 + 0.03 * np.log1p(flatness) + rng.normal(0, 0.004)
    return EpochMeasurement(
        epoch=epoch,
        train_score=train_score,
        train_loss=float(-np.log(train_score)),
        n_train_images=100,
        n_parameters=1000 * params["width"],
        relative_gap_flatness=flatness,
        hessian_trace=3 * flatness,
        layer="stages.1.conv",
        exactness="hessian",
        n_probe_images=50,
        flatness_standard_error=0.125 * flatness,
        companions={"mean_confidence": train_score},
        holdout_score=float(train_score - gap) if is_held_out else None,
        n_holdout_images=25 if is_held_out else 0,
        train_seconds=1.0,
        measure_seconds=0.25,
    )


def write_study(url, name="digits", n_trials=14, *, evil="", outcome="complete", audited=True, minimize=()):
    """Writes it; `evil` is a part of every name and message that comes from outside."""
    rng = np.random.default_rng(1)
    storage = make_optuna_storage(url)
    pruner = FlatnessPruner(startup_trials=3)
    study = optuna.create_study(
        study_name=f"{name}{evil}",
        storage=storage,
        direction="maximize",
        pruner=pruner,
        sampler=optuna.samplers.RandomSampler(seed=1),
    )
    study.set_user_attr(UID_ATTRIBUTE, uuid.uuid4().hex)
    name_metrics(study, StudySection(name="digits"))
    config = {
        "study": {"name": f"{name}{evil}", "trials": n_trials, "seed": 1, "minimize": list(minimize)},
        "data": {"train": "digits", **({"audit": "digits"} if audited else {})},
        "search_space": {
            "learning_rate": {"type": "float", "low": 0.002, "high": 0.1, "log": True},
            "width": {"type": "int", "low": 6, "high": 24, "log": True},
            f"block{evil}": {"type": "categorical", "choices": ["plain", f"residual{evil}"]},
            "momentum": {"type": "float", "low": 0.8, "high": 0.95, "when": {f"block{evil}": "plain"}},
            "batch_size": 32,
        },
        "training": {"epochs": N_EPOCHS},
        "ray": {"gpus_per_trial": 0.5},
    }
    data = {"name": f"digits{evil}", "n_images": 1297, "input_shape": [1, 8, 8], "class_names": [f"0{evil}", "1"]}
    engine = make_engine(url)
    writer = StudyWriter.create(engine, study.user_attrs[UID_ATTRIBUTE], f"{name}{evil}", config, data)
    run = writer.start_run(f"host{evil}", 1, "inline", {"python": "3.11", f"torch{evil}": "2.6"}, config)
    predictor, calibrator, rows = None, None, []
    for number in range(n_trials):
        trial = study.ask()
        params = {
            "learning_rate": trial.suggest_float("learning_rate", 0.002, 0.1, log=True),
            "width": trial.suggest_int("width", 6, 24, log=True),
            f"block{evil}": trial.suggest_categorical(f"block{evil}", ["plain", f"residual{evil}"]),
        }
        if params[f"block{evil}"] == "plain":
            params["momentum"] = trial.suggest_float("momentum", 0.8, 0.95)
        is_held_out = number < N_CALIBRATION
        trial.set_user_attr(CALIBRATION_ATTRIBUTE, is_held_out)
        model = f"cnn w{params['width']}{evil}"
        candidate = {"training": {"epochs": N_EPOCHS}}
        writer.start_attempt(number, 1, run, is_calibration=is_held_out, candidate=candidate, model=model)
        state = optuna.trial.TrialState.COMPLETE
        if number == n_trials - 1:  # its candidate raises
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            writer.end_attempt(number, 1, "fail", failure=Failure("ValueError", f"bad{evil}"))
            continue
        for epoch in range(1, N_EPOCHS + 1):
            measurement = measure(params, epoch, is_held_out=is_held_out, rng=rng)
            writer.add_measurements(number, 1, [measurement])
            if is_held_out:
                rows.append(make_calibration_row(str(number), measurement))
            score = measurement.train_score - 0.05
            if predictor is not None:
                prediction = predictor.predict(measurement)
                writer.add_predictions(calibrator, {(number, epoch): prediction})
                score = prediction.predicted_test_score
            FlatnessPruner.report(trial, score, epoch)
            if pruner.should_prune(trial):
                state = optuna.trial.TrialState.PRUNED
                break
        # Optuna takes a pruned trial's value from its last report.
        study.tell(trial, score if state == optuna.trial.TrialState.COMPLETE else None, state=state)
        reason = study.trials[number].user_attrs.get(PRUNED_ATTRIBUTE)
        writer.end_attempt(number, 1, state.name.lower(), pruned_because=reason and f"{reason}{evil}")
        if number == N_CALIBRATION - 1:
            predictor = GapPredictor.fit(rows, metadata={"sources": []})
            calibrator = writer.add_calibrator(predictor.to_dict(), predictor.describe())
            with closing(StudyReader(engine, writer.study_uid)) as reader:
                curves = reader.measurements()
            for held_out, curve in curves.items():
                honest = predictor.without(str(held_out))
                writer.add_predictions(calibrator, {(held_out, m.epoch): honest.predict(m) for m in curve})
        if audited:
            writer.add_audit(number, float(np.clip(score + rng.normal(0, 0.01), 0, 1)), 1.0, 500)
    writer.end_run(run, outcome)
    storage.remove_session()
    storage.engine.dispose()
    engine.dispose()
