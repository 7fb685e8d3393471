"""What a result depends on besides its study: versions, and the machine; kept with every run."""

import platform
from importlib import metadata

import psutil

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


def describe_host() -> str:
    """The kind of this machine: system, CPUs and GPUs, such as `Linux x86_64, 16 CPUs, 1 GPU`."""
    import torch  # takes seconds, and whoever only asks for versions does not need it

    counted = [(psutil.cpu_count() or 0, "CPU"), (torch.cuda.device_count(), "GPU")]
    parts = [f"{n} {name}{'s' if n > 1 else ''}" for n, name in counted if n]
    return ", ".join([f"{platform.system()} {platform.machine()}", *parts])
