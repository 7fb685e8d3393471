"""Versions of everything a result depends on, kept with every run and every exported model."""

import platform
from importlib import metadata

_PACKAGES = ("flatselect", "torch", "torchvision", "optuna", "ray", "scikit-learn", "sqlalchemy", "numpy")


def collect_versions() -> dict[str, str]:
    """Version texts by package name, and Python's own."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
