"""What `study.stop_improvement` saves and loses, by replaying recorded searches in many orders.

Each study's trials come in another order each time; after every tenth and each further one the expected improvement is
estimated from their predicted test scores, and the search ends where it is under the bound. Loss: the audited score of
the best of all trials by prediction, less that of the best by prediction when the search ended.

    python tests/benchmarks/stopping.py DATABASE... [--orders 30] [--bounds 0.002 0.005 0.01 0.02]

tests/benchmarks/calibration.py says how to make such databases.
"""

import argparse
from contextlib import closing

import numpy as np
import optuna

from flatselect.cli.opening import open_study_reader
from flatselect.config import StudyConfig
from flatselect.records import TrialRecord
from flatselect.search.stopping import LEAST_TRIALS, estimate_improvement
from flatselect.search.stored_config import read_stored_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("databases", nargs="+", metavar="DATABASE")
    parser.add_argument("--orders", type=int, default=30)
    parser.add_argument("--bounds", type=float, nargs="*", default=[0.002, 0.005, 0.01, 0.02])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for database in options.databases:
        with closing(open_study_reader(database)) as reader:
            config = read_stored_config(reader)
            trials = [t for t in reader.trials(include_audits=True) if t.prediction and t.audit_test_score is not None]
        print(f"{config.study.name}: {len(trials)} trials, {options.orders} orders, mean ± standard error", flush=True)
        runs = np.array([_replay(config, trials, order, options.bounds) for order in range(options.orders)])
        for bound, run in zip(options.bounds, runs.transpose(1, 2, 0), strict=True):
            (n_run, loss), errors = run.mean(axis=1), run.std(axis=1, ddof=1) / np.sqrt(options.orders)
            print(f"  bound {bound:<6g} trials {n_run:5.1f} ± {errors[0]:.1f}   loss {loss:+.4f} ± {errors[1]:.4f}")


def _replay(config: StudyConfig, trials: list[TrialRecord], order: int, bounds: list[float]) -> list[list[float]]:
    """(trials run, test score lost) for each bound."""
    drawn = [trials[i] for i in np.random.default_rng(order).permutation(len(trials))]
    scores = [trial.prediction.predicted_test_score for trial in drawn if trial.prediction is not None]
    tested = [trial.audit_test_score for trial in drawn if trial.audit_test_score is not None]
    ends: dict[float, int] = {}
    for n in range(LEAST_TRIALS, len(drawn)):
        if len(ends) == len(bounds):
            break
        improvement = estimate_improvement(config, [t.params for t in drawn[:n]], scores[:n], seed=n)
        for bound in bounds:
            if improvement < bound:
                ends.setdefault(bound, n)
    results = []
    for bound in bounds:
        n = ends.get(bound, len(drawn))
        results.append([float(n), tested[int(np.argmax(scores))] - tested[int(np.argmax(scores[:n]))]])
    return results


if __name__ == "__main__":
    main()
