"""Python, packages and torch: what is said of an environment that is sound, and of one that is not."""

import json
import subprocess
import sys
from importlib import metadata

import pytest

from flatselect.doctor.packages import check_packages, check_python
from flatselect.doctor.torch_build import check_gpu, check_torch


def test_these_tests_run_in_a_sound_environment():
    for finding in (check_python(), check_packages(), check_torch()):
        assert (finding.verdict, finding.remedy) == ("ok", None), finding
    assert metadata.version("torchvision") in check_torch().found


@pytest.mark.parametrize(
    ("requirement", "found"),
    [
        ("no-such-package>=1", "no-such-package is not installed"),
        ("optuna>=99", f"optuna is {metadata.version('optuna')}, expected >=99"),
        ("optuna>=99; extra == 'future'", None),
        ("optuna>=99; python_version < '3'", None),
    ],
)
def test_what_does_not_fit_is_named(requirement, found, monkeypatch):
    # Another environment cannot be made in a test's time: the package asks for something else instead.
    monkeypatch.setattr(metadata, "requires", lambda name: ["click>=8.1", requirement])
    finding = check_packages()
    if found is None:
        assert finding.verdict == "ok"
    else:
        assert (finding.verdict, finding.found) == ("problem", found)
        assert "pip install" in finding.remedy


def test_python_that_is_too_old(monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.10.1")
    finding = check_python()
    assert finding.verdict == "problem"
    assert "3.11" in finding.remedy


def test_torchvision_of_another_build_is_a_problem_and_no_traceback(tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    # What the CPU build of one and the CUDA build of the other end in.
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist\\nat line 1')")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from click.testing import CliRunner; from flatselect.cli.main import cli\n"
        "done = CliRunner().invoke(cli, ['doctor', 'studies/digits.toml', '--json'])\n"
        "print(done.stdout); sys.exit(done.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    problems = [f for f in json.loads(done.stdout)["findings"] if f["verdict"] == "problem"]
    assert [problem["subject"] for problem in problems] == ["torch"]
    assert problems[0]["found"].endswith("operator torchvision::nms does not exist")
    assert "same place" in problems[0]["remedy"]


def test_gpu_that_a_study_asks_for_must_be_there(monkeypatch):
    # Machines with a GPU run this test too.
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("PATH", "")
    assert check_gpu(None).verdict == "ok"
    assert check_gpu(0).verdict == "ok"
    finding = check_gpu(0.5)
    assert finding.verdict == "problem"
    assert "gpus_per_trial = 0.5" in finding.found


def test_gpu_that_torch_does_not_see(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_gpu(None).verdict == "warning"
    assert check_gpu(1).verdict == "problem"
