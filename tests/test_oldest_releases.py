"""What CI takes for the oldest releases are those that pyproject.toml names."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def read_pins() -> dict[str, Version]:
    lines = (ROOT / "tests" / "oldest_releases.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in pins}


def read_bounds() -> dict[str, Version]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return {
        canonicalize_name(needed.name): Version(specifier.version)
        for needed in map(Requirement, lines)
        for specifier in needed.specifier
        if specifier.operator == ">="
    }


def test_every_bound_is_a_release_that_ci_runs() -> None:
    pins, bounds = read_pins(), read_bounds()
    assert len(bounds) > 30
    assert {name: pins.get(name) for name in bounds} == bounds
