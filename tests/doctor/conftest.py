"""Rights taken away for the time of a test: root, as whom tests may run, would be stopped by none."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

_NOBODY = 65534


@pytest.fixture
def read_only_folder():
    """A folder in which this process may not write."""
    folder = Path(tempfile.mkdtemp(prefix="flatselect-read-only-"))  # pytest's own only their owner may enter
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(_NOBODY)
    yield folder
    if is_root:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)
