"""The file that a page is written to, looked at before any work is done."""

from pathlib import Path

from flatselect.errors import ConfigError

_SUFFIXES = (".html", ".htm")


def check_page_path(path: str) -> None:
    """Refuses, before anything is measured, a file that no page can be written to; raises ConfigError."""
    if Path(path).suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"-o {path}: expected the name of an HTML page, such as report.html")
    if Path(path).is_dir() or not Path(path).parent.is_dir():
        raise ConfigError(f"-o {path}: cannot be written; name a file in a folder that is there")
