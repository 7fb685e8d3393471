"""Measures the trained zoo and writes its table: a line a network, the measurements and the true test score in it.

    python studies/zoo/measure.py zoo --mnist FOLDER --cifar10 FOLDER [--part 0/2] [--output studies/zoo/table.csv]

Measurements are kept beside the weights, so that it can be stopped and started; the table holds all that are there,
with those of peers.py where it was run.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from environments import Environment
from networks import draw_candidate
from rivals import measure_rivals
from train import N_ENVIRONMENTS, iterate_networks, make_parser, read_roots

from flatselect.assessment import Probe, assess
from flatselect.errors import FlatselectError
from flatselect.measures import LABEL_COMPANION_NAMES, SET_COMPANION_NAMES
from flatselect.measures.perturbations import PERTURBATION_NAMES
from flatselect.selection.agreement import make_agreement_companions
from flatselect.selection.measuring import measure_training_pixels
from flatselect.training.building import build_candidate
from flatselect.training.checkpoint import load_checkpoint

N_PROBE = 1024
N_UNLABELED = 1000
PEERS_SUFFIX = ".peers.json"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, help="where to write the table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    roots = read_roots(options)
    loaded: tuple[int, Any] = (N_ENVIRONMENTS, None)
    for environment, number, path in iterate_networks(options):
        measured = path.with_suffix(".json")
        if measured.exists() or not path.exists():
            continue
        if loaded[0] != environment.number:
            loaded = environment.number, environment.load(roots)
        try:
            measured.write_text(json.dumps(measure_network(environment, number, path, *loaded[1])))
        except FlatselectError as error:
            print(f"{path.name}: left out: {error}", flush=True)
            continue
        print(f"{path.name} measured", flush=True)
    if options.output is not None:
        rows = [json.loads(file.read_text()) for file in sorted(options.folder.glob("*-?.json"))]
        for row in rows:
            if (peers := options.folder / f"{row['network']}{PEERS_SUFFIX}").exists():
                row.update(json.loads(peers.read_text()))
        add_agreement(rows)
        pd.DataFrame(rows).to_csv(options.output, index=False, float_format="%.6g")
        print(f"{len(rows)} networks in {options.output}")


def add_agreement(rows: list[dict[str, Any]]) -> None:
    """Replaces each network's predictions by its agreement with the others of its environment, as in a ranking."""
    of_environment: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        of_environment.setdefault(row["environment_number"], []).append(row)
    for networks in of_environment.values():
        classes = np.array([network.pop("unlabeled_predictions") for network in networks])
        if len(networks) > 1:
            scores = [network["train_score"] for network in networks]
            for network, companions in zip(networks, make_agreement_companions(classes, scores), strict=True):
                network.update(companions)


def draw_probe(environment: Environment, train: Any) -> Probe:
    return Probe.draw(train, N_PROBE, environment.number, "cpu")


def measure_network(environment: Environment, number: int, path: Path, train: Any, test: Any) -> dict[str, Any]:
    """One line of the table; companions by their own names, what was drawn by `environment_...` and `candidate_...`."""
    stored = load_checkpoint(path)
    candidate = draw_candidate(environment, number)
    model = build_candidate(candidate, train, seed=0)
    model.load_state_dict(stored["model"])
    generator = torch.Generator().manual_seed(environment.number)
    unlabeled = test.images("cpu")[torch.randperm(len(test), generator=generator)[:N_UNLABELED]]
    probe = draw_probe(environment, train)
    measured = assess(
        model,
        train,
        probe,
        companions=(*SET_COMPANION_NAMES, *LABEL_COMPANION_NAMES),
        extras=PERTURBATION_NAMES,
        unlabeled=unlabeled,
    )
    model.eval()
    with torch.no_grad():
        predictions = model(unlabeled).argmax(1).tolist()
    values = measured.to_dict()
    for name in ("epoch", "measure_seconds", "train_seconds", "holdout_score", "holdout_loss", "n_holdout_images"):
        values.pop(name)
    training = candidate.training.model_dump(
        include={"epochs", "batch_size", "optimizer", "learning_rate", "momentum", "weight_decay", "label_smoothing"}
    )
    return {
        "network": path.stem,
        **{f"environment_{key}": value for key, value in environment.to_dict().items()},
        "candidate": candidate.describe(),
        "candidate_augmentation": candidate.augmentation,
        **{f"candidate_{key}": value for key, value in training.items()},
        "test_score": stored["test_score"],
        "n_test_images": stored["n_test_images"],
        **{key: value for key, value in values.items() if key != "companions"},
        **values["companions"],
        **measure_training_pixels(train, environment.number),
        **measure_rivals(model, probe.images, probe.labels, seed=0),
        "unlabeled_predictions": predictions,
    }


if __name__ == "__main__":
    main()
