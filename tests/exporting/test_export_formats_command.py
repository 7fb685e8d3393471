"""`flatselect export` and what a user does next: measure, rank, MLflow."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hostile_study import CLASS_NAMES
from mlflow import MlflowClient

from flatselect.cli.main import cli
from flatselect.store.study_reader import StudyReader

TRAIN = "folder:<b>train | images"
WEIGHTS = ["model.pt", "model.safetensors", "model.pt2", "normalized.pt2", "folder/"]


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(cli, [*map(str, arguments)])


def run_json(*arguments: object) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refuse(*arguments: object, code: int = 1) -> str:
    done = run("export", *arguments)
    assert done.exit_code == code, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.fixture
def files(reader: StudyReader, exported: Path) -> Path:
    """The best trial in every form of weights; in the study's folder."""
    for name in WEIGHTS:
        if not (exported / name).exists():
            done = run("export", "hostile.toml", "-o", f"{exported}/{name}", *["--normalize"] * name.startswith("norm"))
            assert done.exit_code == 0, done.output
            assert done.stdout == ""
            assert "MB, after 3 epochs" in done.stderr
            assert ("add a license" in done.stderr) == (name == "folder/")
    return exported


def test_each_file_is_measured_like_the_others(files: Path, reader: StudyReader) -> None:
    found = {}
    for name in WEIGHTS:
        found[name] = run_json("measure", files / name, "--data", TRAIN, "--image-size", 8, "--images", "all")
        assert found[name]["model"] == "cnn"
        assert found[name]["n_classes"] == len(CLASS_NAMES)
    flatness = {name: result["measurement"]["relative_gap_flatness"] for name, result in found.items()}
    assert set(flatness.values()) == {flatness["model.pt"]}
    assert flatness["model.pt"] > 0


def test_each_file_is_ranked_like_the_others(
    files: Path, reader: StudyReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLATSELECT_CACHE", str(tmp_path))
    options = ("--data", TRAIN, "--image-size", 8, "--calibrator", "study:hostile")
    paths = {str(path) for path in files.rglob("*") if path.suffix in (".pt", ".pt2", ".safetensors")}
    assert len(paths) == len(WEIGHTS)
    alone = [run_json("rank", path, *options)["checkpoints"][0] for path in paths]
    assert {candidate["error"] for candidate in alone} == {None}
    assert len({candidate["predicted_test_score"] for candidate in alone}) == 1
    # Beside each other they are one network.
    first, *copies = run_json("rank", files, *options)["checkpoints"]
    assert {candidate["path"] for candidate in (first, *copies)} == paths
    assert first["predicted_test_score"] == alone[0]["predicted_test_score"]
    assert {candidate["error"] for candidate in copies} == {f"the same network as {first['path']}, which is ranked"}


@pytest.mark.usefixtures("reader")
def test_an_onnx_graph_cannot_be_measured(tmp_path: Path) -> None:
    done = run("export", "hostile.toml", "-o", tmp_path / "model.onnx")
    assert done.exit_code == 0, done.output
    done = run("measure", tmp_path / "model.onnx", "--data", TRAIN)
    assert done.exit_code == 1
    assert "an ONNX graph, of which only ONNX runtimes know what it computes" in " ".join(done.stderr.split())


@pytest.mark.usefixtures("reader")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow's own SQL
def test_a_study_is_written_to_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/mlflow.db"
    study = Path("hostile.toml").absolute()
    monkeypatch.chdir(tmp_path)
    done = run("export", study, "--mlflow", url)
    assert done.exit_code == 0, done.output
    assert f"{url}: experiment 'hostile': 12 new runs, 0 updated, 0 as they were" in done.stderr
    assert "12 as they were" in run("export", study, "--mlflow", url).stderr
    client = MlflowClient(tracking_uri=url)
    experiment = client.get_experiment_by_name("hostile")
    assert len(client.search_runs([experiment.experiment_id], "metrics.predicted_test_score > -1")) == 8
    failed = run("export", study, "--mlflow", url, "--trial", 0)
    assert failed.exit_code == 0
    assert "without a model: trial 0 has no checkpoint (NonFiniteError" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "nothing to write: give -o FILE, or --mlflow URI"),
        (["--mlflow", "sqlite:///x.db", "--normalize"], 2, "are of a file"),
        (["--mlflow", "sqlite:///x.db", "--average", 3], 2, "give one of the two"),
        (["-o", "model.ts"], 1, "TorchScript is deprecated"),
        (["-o", "model.h5"], 1, ".h5 names no format; expected .pt, .safetensors, .pt2, .onnx, or a folder"),
        (["-o", "model.pt", "--normalize"], 1, "--normalize is of programs (.pt2, .onnx), and model.pt holds weights"),
        (["-o", "card/", "--normalize"], 1, "--normalize is of programs"),
        (["-o", "model.pt", "--format", "hdf5"], 2, "Invalid value for '--format'"),
        (["-o", "model.pt", "--trial", "first"], 1, "expected a trial number or best"),
        (["-o", "model.pt", "--trial", 99], 1, "no trial 99 in this study; it has 12, from 0"),
    ],
)
@pytest.mark.usefixtures("reader")
def test_a_users_mistakes(arguments: list[object], code: int, message: str) -> None:
    before = sorted(Path().iterdir())
    assert message in refuse("hostile.toml", *arguments, code=code)
    assert sorted(Path().iterdir()) == before
