"""Fits the calibrator that ships with the package to the zoo's table, and writes it where the package keeps it.

python studies/zoo/calibrate.py [--table studies/zoo/table.csv] [--output FILE]
"""

import argparse
from pathlib import Path

from table import TABLE, read_table

from flatselect.calibration import shipped
from flatselect.calibration.features import AGREEMENT_FEATURES, FEATURE_NAMES
from flatselect.calibration.gap_predictor import GapPredictor

ESTIMATOR = "ensemble"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--output", type=Path, default=Path(shipped.__file__).parent / shipped.FILE)
    options = parser.parse_args()
    predictor = fit(options.table)
    predictor.save(options.output)
    print(f"{len(predictor.rows)} networks in {options.output}: {predictor.describe()['cross_validated']}")


def fit(table: Path) -> GapPredictor:
    # What plain agreement means among five trained candidates is not what it means among sixteen of all kinds: with it,
    # picks from another list of candidates were far worse (docs/prediction.md, E2).
    names = tuple(name for name in FEATURE_NAMES if name not in AGREEMENT_FEATURES)
    rows = [network.to_row(names) for network in read_table(table)]
    n_groups = len({row.group for row in rows})
    source = {"kind": "zoo", "name": "studies/zoo/table.csv", "n_rows": len(rows), "n_groups": n_groups}
    return GapPredictor.fit(rows, estimator=ESTIMATOR, metadata={"sources": [source]})


if __name__ == "__main__":
    main()
