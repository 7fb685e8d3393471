"""Running `flatselect rank` as a user would, on a few networks trained on digits for a moment."""

import json
import math

import optuna
import torch
from click.testing import CliRunner
from torch.nn import functional

from flatselect.calibration.features import FEATURE_NAMES
from flatselect.calibration.gap_predictor import CalibrationRow, GapPredictor
from flatselect.cli.main import cli
from flatselect.models import build_model
from flatselect.store.engine import make_engine
from flatselect.store.optuna_storage import make_optuna_storage
from flatselect.store.study_reader import UID_ATTRIBUTE
from flatselect.store.study_writer import StudyWriter

DIGITS = ["--data", "digits", "--images", "200"]
CNN = ["--model", "cnn", "--model-arg", "width=4"]
KEYS = [
    "path", "rank", "predicted_test_score", "predicted_test_score_interval", "predicted_test_gap", "train_score",
    "relative_gap_flatness", "probability_best", "extrapolation", "error",
]  # fmt: skip


def run(*arguments, **environment):
    return CliRunner(env={"COLUMNS": "80", **environment}).invoke(cli, ["rank", *map(str, arguments)])


def run_json(*arguments):
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refuse(*arguments):
    """The message of a refusal, which is no traceback."""
    done = run(*arguments)
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    return " ".join(done.stderr.split())


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


def make_study(name, predictors):
    """A database NAME.db of a study that has had these calibrators."""
    url = f"sqlite:///{name}.db"
    storage, engine = make_optuna_storage(url), make_engine(url)
    study = optuna.create_study(study_name=name, storage=storage)
    study.set_user_attr(UID_ATTRIBUTE, f"uid of {name}")
    writer = StudyWriter.create(engine, f"uid of {name}", name, {}, {})
    for predictor in predictors:
        writer.add_calibrator(predictor.to_dict(), {})
    storage.remove_session()
    storage.engine.dispose()
    engine.dispose()
