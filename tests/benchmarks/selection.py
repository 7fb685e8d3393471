"""E2: picking one of 16 networks on few labelled images, by flatselect on all of them and by holding a part out.

Fashion-MNIST scaled to 14×14, or CIFAR-10 scaled to 16×16; in each repetition other images, other candidates (drawn by
lot from the search space of studies/fashion_mnist.toml) and other seeds. Ways to pick:

- hold-out (of each of --shares): train on the rest, pick by validation accuracy;
- the same, and the pick is trained again on all images;
- 5-fold (with --folds): mean validation accuracy of five trainings, then the pick is trained on all;
- training accuracy, ties by training loss: train on all;
- flatselect: train on all, pick by predicted test score; the calibrator is fitted on the zoo's networks of the *other*
  data sets (studies/zoo/table.csv);
- the same with 1,000 images without labels, other ones of the training part; and with the candidates' agreement on
  them among the features, which the shipped calibrator leaves out;
- uncalibrated: as `rank --calibrator none` orders them, without and with the unlabelled images.

Regret is the best test accuracy among the 16 networks trained on all images, less the pick's. Trainings are kept in
FILE, so that it can be stopped and started:

    python tests/benchmarks/selection.py FILE.jsonl [--images 500] [--repetitions 10] [--first 0] [--shares 0.1 0.2]
        [--folds] [--cifar10 FOLDER]

FOLDER is one that studies/cifar10_arrays.py made. Each data set needs a FILE of its own.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from flatselect.assessment import Probe, assess
from flatselect.calibration.calibration_row import CalibrationRow
from flatselect.calibration.features import AGREEMENT_FEATURES, FEATURE_NAMES
from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.config import StudyConfig
from flatselect.data.dataset import Dataset, gather_images
from flatselect.data.loading import load_audit_set, load_training_set
from flatselect.data.splits import split_holdout
from flatselect.measures import LABEL_COMPANION_NAMES, SET_COMPANION_NAMES
from flatselect.measures.perturbations import PERTURBATION_NAMES
from flatselect.ranking.uncalibrated import order_uncalibrated
from flatselect.records import EpochMeasurement
from flatselect.search_space import Candidate, suggest
from flatselect.selection.agreement import make_agreement_companions
from flatselect.selection.measuring import measure_training_pixels
from flatselect.study_file import load_study_file
from flatselect.training.building import build_candidate
from flatselect.training.evaluation import evaluate
from flatselect.training.fit import Trainer
from flatselect.training.seeding import derive_seed

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "studies" / "zoo"))
from table import read_table  # noqa: E402 - it lies beside the zoo

N_CANDIDATES = 16
N_SEEN = 10_000
N_UNLABELED = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="other repetitions than have been looked at")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.1, 0.2], help="of the images, held out")
    parser.add_argument("--folds", action="store_true")
    parser.add_argument("--cifar10", type=Path, help="folder of train.npz and test.npz; default: Fashion-MNIST")
    parser.add_argument("--estimator", default="ensemble")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    base = "FashionMNIST" if options.cifar10 is None else "CIFAR10"
    labelled = [name for name in FEATURE_NAMES if "unlabeled" not in name]
    usual = [name for name in FEATURE_NAMES if name not in AGREEMENT_FEATURES]
    predictors = {
        name: _fit_on_other_data_sets(base, features, options.estimator)
        for name, features in (
            ("flatselect", labelled),
            ("flatselect, unlabelled", usual),
            ("flatselect, and agreement", FEATURE_NAMES),
        )
    }
    lost: dict[str, list[float]] = {}
    accuracy: dict[str, list[float]] = {}
    for repetition in range(options.first, options.first + options.repetitions):
        trainings = _train_all(options, repetition)
        images = load_training_set(_make_config(options).data, seed=repetition)
        kernel = measure_training_pixels(images, repetition)
        on_all = [trainings["all", number] for number in range(N_CANDIDATES)]
        tested = np.array([training["test_score"] for training in on_all])
        for name, pick, score in _pick(trainings, kernel, predictors, tested, options):
            accuracy.setdefault(name, []).append(score)
            lost.setdefault(name, []).append(float(tested.max()) - score)
            print(f"repetition {repetition} {name}: candidate {pick}, test accuracy {score:.4f}", flush=True)
    print(f"\n{options.images} images, {options.repetitions} repetitions, mean ± standard error")
    for name, values in lost.items():
        error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        print(f"{name:32s} test accuracy {np.mean(accuracy[name]):.4f}  regret {np.mean(values):.4f} ± {error:.4f}")


def _fit_on_other_data_sets(base: str, names: Sequence[str], estimator: str) -> GapPredictor:
    rows: list[CalibrationRow] = [n.to_row(tuple(names)) for n in read_table() if n.base != base]
    return GapPredictor.fit(rows, estimator=estimator)


def _pick(
    trainings: dict[tuple[str, int], dict[str, Any]],
    kernel: dict[str, float],
    predictors: dict[str, GapPredictor],
    tested: np.ndarray,
    options: argparse.Namespace,
) -> Iterator[tuple[str, int, float]]:
    """Each way's name, its pick and the test accuracy of the network that one then has."""

    def best(score: Callable[[int], Any]) -> int:
        return max(range(N_CANDIDATES), key=score)

    for share in map(_name_share, options.shares):
        pick = best(lambda number, share=share: trainings[share, number]["validation_score"])
        yield f"hold-out {share}", pick, trainings[share, pick]["test_score"]
        yield f"hold-out {share}, retrained", pick, float(tested[pick])
    if options.folds:
        pick = best(lambda number: sum(trainings[f"fold {k}", number]["validation_score"] for k in range(5)))
        yield "5-fold, retrained", pick, float(tested[pick])
    alone = (EpochMeasurement.from_dict(trainings["all", n]["measurement"]) for n in range(N_CANDIDATES))
    measured = {n: dataclasses.replace(m, companions=m.companions | kernel) for n, m in enumerate(alone)}
    classes = np.array([trainings["all", n]["unlabeled_classes"] for n in range(N_CANDIDATES)])
    with_agreement = {
        n: dataclasses.replace(measured[n], companions=measured[n].companions | companions)
        for n, companions in enumerate(make_agreement_companions(classes, [m.train_score for m in measured.values()]))
    }
    for name, companion in (("plain", "unlabeled_agreement"), ("weighted", "unlabeled_weighted_agreement")):
        pick = best(lambda number, companion=companion: with_agreement[number].companions[companion])
        yield f"{name} agreement", pick, float(tested[pick])
    pick = best(lambda number: (measured[number].train_score, -measured[number].train_loss))
    yield "training accuracy", pick, float(tested[pick])
    for name, known in (("uncalibrated", measured), ("uncalibrated, unlabelled", with_agreement)):
        pick = min(range(N_CANDIDATES), key=lambda number, known=known: order_uncalibrated(known[number]))
        yield name, pick, float(tested[pick])

    for name, predictor in predictors.items():
        predictions = predictor.predict_many([with_agreement[n] for n in range(N_CANDIDATES)])
        pick = best(lambda n, p=predictions: measured[n].train_score - p[n].predicted_test_gap)
        yield name, pick, float(tested[pick])


def _name_share(share: float) -> str:
    return f"{share:.0%}"


def _train_all(options: argparse.Namespace, repetition: int) -> dict[tuple[str, int], dict[str, Any]]:
    """Every training of a repetition, by part of the images and candidate; those not in the file yet are done now."""
    done: dict[tuple[str, int], dict[str, Any]] = {}
    if options.file.exists():
        for line in options.file.read_text().splitlines():
            entry = json.loads(line)
            if (entry["n_images"], entry["repetition"]) == (options.images, repetition):
                done[entry["part"], entry["candidate"]] = entry
    config = _make_config(options)
    images = load_training_set(config.data, seed=repetition)
    tests = load_audit_set(config.data, images, seed=0)
    unlabeled = _draw_others(config, images, repetition)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=repetition))
    candidates = [suggest(study.ask(), config) for _ in range(N_CANDIDATES)]
    parts: dict[str, tuple[Dataset, Dataset | None]] = {"all": (images, None)}
    for share in options.shares:
        kept, held = split_holdout(images.labels, share, seed=repetition)
        parts[_name_share(share)] = images.subset(kept), images.subset(held)
    if options.folds:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(repetition))
        for fold, held in enumerate(order.chunk(5)):
            kept = torch.tensor(sorted(set(range(len(images))) - set(held.tolist())))
            parts[f"fold {fold}"] = images.subset(kept), images.subset(held)
    for part, (train, validation) in parts.items():
        for number, candidate in enumerate(candidates):
            if (part, number) in done:
                continue
            seed = derive_seed("selection", repetition, number)
            entry = {"n_images": options.images, "repetition": repetition, "part": part, "candidate": number}
            entry |= _train(candidate, train, validation, tests, seed, unlabeled if part == "all" else None)
            with options.file.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            done[part, number] = entry
    return done


def _make_config(options: argparse.Namespace) -> StudyConfig:
    overrides = [f"data.size={options.images}", f"training.epochs={N_SEEN // options.images}", "data.audit_size=10000"]
    if options.cifar10 is None:
        overrides.append("data.image_size=14")
    else:
        train, test = (f"arrays:{options.cifar10 / part}.npz" for part in ("train", "test"))
        overrides += [f"data.train={train}", f"data.audit={test}", "data.image_size=16"]
    return load_study_file(ROOT / "studies" / "fashion_mnist.toml", overrides)


def _draw_others(config: StudyConfig, images: Dataset, seed: int) -> torch.Tensor:
    """1,000 images of the training part that are not among `images`, normalised like them."""
    section = config.data.model_copy(update={"size": None, "mean": images.mean, "std": images.std})
    everything = load_training_set(section, seed=0)
    known = {image.numpy().tobytes() for image in gather_images(images, "cpu")[0]}
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed))[: 2 * N_UNLABELED]
    others = [i for i in gather_images(everything.subset(order), "cpu")[0] if i.numpy().tobytes() not in known]
    return torch.stack(others[:N_UNLABELED])


def _train(
    candidate: Candidate,
    train: Dataset,
    validation: Dataset | None,
    tests: Dataset,
    seed: int,
    unlabeled: torch.Tensor | None,
) -> dict[str, Any]:
    """Test score, validation score where there are such images, and all that is measured where there are unlabelled."""
    model = build_candidate(candidate, train, seed=seed)
    trainer = Trainer(model, train, candidate, seed=seed, device="cpu")
    while not trainer.is_done:
        trainer.train_epoch()
    result: dict[str, Any] = {"test_score": evaluate(model, tests, 512, "cpu").score}
    if validation is not None:
        result["validation_score"] = evaluate(model, validation, 512, "cpu").score
    if unlabeled is not None:
        measured = assess(
            model,
            train,
            Probe.draw(train, 1024, seed, "cpu"),
            companions=(*SET_COMPANION_NAMES, *LABEL_COMPANION_NAMES),
            extras=PERTURBATION_NAMES,
            unlabeled=unlabeled,
        )
        result["measurement"] = dataclasses.asdict(measured)
        model.eval()
        with torch.no_grad():
            result["unlabeled_classes"] = model(unlabeled).argmax(1).tolist()
    return result


if __name__ == "__main__":
    main()
