"""Other ways to run the no-op trials of `search.py`: Optuna alone, a pool of actors around it, Ray Tune around it.

Each asks the same TPE sampler for the same four hyper-parameters, reports every epoch and keeps its study in SQLite.
They store less: no measurements, no predictions, no checkpoints.
"""

import os
import time
from pathlib import Path
from typing import Any

import optuna
import ray
from noop_trials import temporary_folder

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "width": trial.suggest_int("width", 8, 32, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.001, 0.3, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
        "block": trial.suggest_categorical("block", ["plain", "residual"]),
    }


def score(params: dict[str, Any], epoch: int) -> float:
    return float(params["learning_rate"]) * (1 - 0.7 ** (epoch + 1))


def make_optuna_study(folder: Path) -> optuna.Study:
    return optuna.create_study(
        storage=f"sqlite:///{folder}/peer.db",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_warmup_steps=10**6),  # asked, and never answers yes
    )


def time_optimize(trials: int, epochs: int) -> float:
    """`study.optimize` with two threads: trials a second."""

    def objective(trial: optuna.Trial) -> float:
        params = suggest(trial)
        for epoch in range(1, epochs + 1):
            trial.report(score(params, epoch), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score(params, epochs)

    with temporary_folder() as folder:
        study = make_optuna_study(folder)
        started = time.perf_counter()
        study.optimize(objective, n_trials=trials, n_jobs=2)
        return trials / (time.perf_counter() - started)


def time_actor_pool(trials: int, epochs: int) -> float:
    """Two actors that are asked for one epoch at a time, a study that is asked and told beside: trials a second."""

    @ray.remote
    class Actor:
        def train(self, params: dict[str, Any], epoch: int) -> float:
            return score(params, epoch)

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with temporary_folder() as folder:
            study = make_optuna_study(folder)
            actors = [Actor.remote() for _ in range(2)]
            ray.get([actor.train.remote({"learning_rate": 0.1}, 1) for actor in actors])
            started = time.perf_counter()
            pending: dict[Any, tuple[Any, optuna.Trial, int]] = {}

            def start(actor: Any, trial: optuna.Trial, epoch: int) -> None:
                pending[actor.train.remote(trial.params, epoch)] = actor, trial, epoch

            def ask() -> optuna.Trial:
                trial = study.ask()
                suggest(trial)
                return trial

            for actor in actors:
                start(actor, ask(), 1)
            n_done, n_asked = 0, 2
            while n_done < trials:
                (ready,), _ = ray.wait(list(pending), num_returns=1)
                actor, trial, epoch = pending.pop(ready)
                value = ray.get(ready)
                trial.report(value, epoch)
                trial.should_prune()
                if epoch < epochs:
                    start(actor, trial, epoch + 1)
                    continue
                study.tell(trial, value)
                n_done += 1
                if n_asked < trials:
                    n_asked += 1
                    start(actor, ask(), 1)
            return trials / (time.perf_counter() - started)
    finally:
        ray.shutdown()


def time_ray_tune(trials: int, epochs: int) -> float:
    """Ray Tune with OptunaSearch, two trials at a time: trials a second.

    Raises:
        ImportError: A package that Ray Tune needs is not installed.
    """
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    def objective(params: dict[str, Any]) -> None:
        for epoch in range(1, epochs + 1):
            tune.report({"score": score(params, epoch)})

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with temporary_folder() as folder:
            storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/peer.db")
            search = OptunaSearch(suggest_to_tune, metric="score", mode="max", seed=0, storage=storage)
            tuner = tune.Tuner(
                objective,
                tune_config=tune.TuneConfig(search_alg=search, num_samples=trials, max_concurrent_trials=2),
                run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
            )
            started = time.perf_counter()
            results = tuner.fit()
            assert not results.errors, results.errors
            return trials / (time.perf_counter() - started)
    finally:
        ray.shutdown()


def suggest_to_tune(trial: optuna.Trial) -> None:
    suggest(trial)
