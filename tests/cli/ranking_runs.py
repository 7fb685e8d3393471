"""Running `flatselect rank`, on a few networks trained on digits for a moment."""

import math

import optuna
import torch
from running import Command
from torch.nn import functional

from flatselect.calibration.features import FEATURE_NAMES
from flatselect.calibration.gap_predictor import CalibrationRow, GapPredictor
from flatselect.models import build_model
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import make_optuna_storage
from flatselect.store.study_reader import UID_ATTRIBUTE
from flatselect.store.study_writer import StudyWriter
from flatselect.training.checkpoint import hash_file

RANK = Command(("rank",))
DIGITS = ["--data", "digits", "--images", "200"]
KEYS = [
    "path", "rank", "predicted_test_score", "predicted_test_score_interval", "predicted_test_gap", "train_score",
    "relative_gap_flatness", "probability_best", "extrapolation", "error",
]  # fmt: skip


def train(digits, n_epochs, seed, **args):
    torch.manual_seed(seed)
    network = build_model("cnn", args, (1, 8, 8), 10)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for epoch in range(n_epochs):
        for images, labels in digits.batches(64, "cpu", shuffle_seed=10 * seed + epoch):
            loss = functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


def fit_calibrator(slope=0.02):
    """Gaps that grow with flatness, of measurements that are roughly like those of digits."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for group in range(20):
        values = torch.randn(len(FEATURE_NAMES), generator=generator).tolist()
        features = dict(zip(FEATURE_NAMES, values, strict=True)) | {"log_n_train_images": math.log10(1000)}
        gap = 0.1 + slope * features["log_relative_gap_flatness"] + 0.01 * values[-1]
        rows.append(CalibrationRow(str(group), 1, features, gap))
    return GapPredictor.fit(rows)


def make_study(name, predictors, checkpoints=None):
    """A database NAME.db of a study that has had these calibrators, and these checkpoints by trial number."""
    url = f"sqlite:///{name}.db"
    storage, engine = make_optuna_storage(url), make_engine(url)
    study = optuna.create_study(study_name=name, storage=storage)
    study.set_user_attr(UID_ATTRIBUTE, f"uid of {name}")
    writer = StudyWriter.create(engine, f"uid of {name}", name, {}, {})
    for predictor in predictors:
        writer.add_calibrator(predictor.to_dict(), {})
    for number, path in (checkpoints or {}).items():
        writer.set_checkpoint(number, 1, str(path), hash_file(path), path.stat().st_size)
    storage.remove_session()
    storage.engine.dispose()
    engine.dispose()
