"""What a calibration on a few trials is worth: simulated searches on a study all of whose trials held out a part.

Some trials, drawn at random, calibrate; the others' test scores are predicted, held against their audited scores, and
beside the two simple rankings: by training score, and by the score on the part each trial held out itself (which costs
that part of the training images, and of which a search on all images has none).

    flatselect search studies/fashion_mnist.toml --trials 40 --seed 7 --set study.name=zoo --set study.sampler=random \\
        --set calibration.trials=40 --set pruner.name=none --storage sqlite:///zoo.db
    python tests/benchmarks/calibration.py zoo.db [--calibration-trials 8] [--draws 80] [--estimator ridge]
"""

import argparse
from contextlib import closing

import numpy as np
from scipy.stats import spearmanr

from flatselect.calibration.gap_predictor import GapPredictor, make_calibration_row
from flatselect.store.engine import make_engine
from flatselect.store.study_reader import find_study, list_studies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database")
    parser.add_argument("--calibration-trials", type=int, default=8)
    parser.add_argument("--draws", type=int, default=80)
    parser.add_argument("--estimator", default="ridge")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    engine = make_engine(f"sqlite:///{options.database}", create=False)
    (study,) = list_studies(engine)
    with closing(find_study(engine, study.name)) as reader:
        curves = reader.measurements()
        audits = reader.audits()
    numbers = sorted(number for number in audits if curves[number][-1].holdout_score is not None)
    rows = {number: [make_calibration_row(str(number), m) for m in curves[number]] for number in numbers}
    last = {number: curves[number][-1] for number in numbers}
    quantiles = np.quantile([audits[number] for number in numbers], [0, 0.5, 1])
    print(f"{study.name}: {len(numbers)} trials, audited scores {quantiles.round(3)} (least, median, most)")

    generator = np.random.default_rng(options.seed)
    results: dict[str, list[dict[str, float]]] = {"predicted": [], "training score": [], "own hold-out": []}
    for _ in range(options.draws):
        drawn = set(generator.permutation(numbers)[: options.calibration_trials].tolist())
        predictor = GapPredictor.fit([row for n in sorted(drawn) for row in rows[n]], estimator=options.estimator)
        others = [number for number in numbers if number not in drawn]
        audited = np.array([audits[number] for number in others])
        predictions = [predictor.predict(last[number]) for number in others]
        intervals = np.array([p.predicted_test_score_interval for p in predictions])
        is_covered = (intervals[:, 0] <= audited) & (audited <= intervals[:, 1])
        for name, scores in {
            "predicted": np.array([p.predicted_test_score for p in predictions]),
            "training score": np.array([last[number].train_score for number in others]),
            "own hold-out": np.array([last[number].holdout_score for number in others], dtype=float),
        }.items():
            first = int(scores.argmax())
            results[name].append(
                {
                    "mean absolute error": float(np.abs(scores - audited).mean()),
                    "rank correlation": float(spearmanr(scores, audited).statistic),
                    "regret of the first": float(audited.max() - audited[first]),
                    "error of the first": float(abs(scores[first] - audited[first])),
                }
            )
        results["predicted"][-1] |= {
            "coverage": float(is_covered.mean()),
            "coverage of the first": float(is_covered[int(np.argmax([p.predicted_test_score for p in predictions]))]),
            "interval width": float((intervals[:, 1] - intervals[:, 0]).mean()),
        }
    for name, values in results.items():
        means = {key: np.mean([value[key] for value in values]) for key in values[0]}
        print(f"{name}: " + ", ".join(f"{key} {mean:.4f}" for key, mean in means.items()))


if __name__ == "__main__":
    main()
