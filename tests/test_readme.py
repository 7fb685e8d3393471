"""The README says what is so: its Python runs, its study file loads, its folders are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flatselect.study_file import load_study_file

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def read_block(language: str, containing: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if containing in block]
    return str(block)


@pytest.mark.end_to_end
def test_its_python_runs(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "digits.toml").write_text((ROOT / "studies" / "digits.toml").read_text())
    # Shorter trials: the lines are what is tested here, not the search.
    code = read_block("python", "flatselect.measure").replace(
        '"ray.backend=inline"', '"ray.backend=inline", "training.epochs=4"'
    )
    assert "training.epochs=4" in code
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "of layer4.1.conv2 hessian" in done.stdout
    assert "learning_rate" in done.stdout


def test_its_study_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(read_block("toml", "[search_space]"))
    assert load_study_file(path).study.trials == 24


def test_its_folders_are_there() -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", README.partition("## Where does my change go?")[2], flags=re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert len(named) > 12
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "flatselect" / name).exists(), name
    folders = {path.parent.name for path in (ROOT / "flatselect").glob("*/__init__.py")}
    assert folders <= {Path(name).name for name in named}


def test_nothing_was_left_to_fill_in() -> None:
    assert not re.findall(r"@[A-Z]+@|TODO|TBD", README)
