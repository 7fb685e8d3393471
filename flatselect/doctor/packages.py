"""Python and the packages that flatselect needs."""

import platform
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from flatselect.doctor.finding import Finding

_PACKAGE = "flatselect"


def check_python() -> Finding:
    """Whether this Python is one that flatselect is made for."""
    wanted = SpecifierSet(str(metadata.metadata(_PACKAGE)["Requires-Python"]))
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if platform.python_version() not in wanted:
        return Finding("python", "problem", found, f"make an environment with Python {wanted}")
    return Finding("python", "ok", found)


def check_packages() -> Finding:
    """Whether every package that flatselect requires is there, in a version that it requires."""
    requirements = [Requirement(text) for text in metadata.requires(_PACKAGE) or []]
    needed = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = [problem for requirement in needed if (problem := _describe_misfit(requirement))]
    if wrong:
        return Finding("packages", "problem", "; ".join(wrong), f"pip install --upgrade {_PACKAGE}")
    shown = [f"{name} {metadata.version(name)}" for name in (_PACKAGE, "optuna", "ray", "sqlalchemy", "scikit-learn")]
    return Finding("packages", "ok", f"{', '.join(shown)}; all {len(needed)} as required")


def _describe_misfit(requirement: Requirement) -> str | None:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} is {version}, expected {requirement.specifier}"
    return None
