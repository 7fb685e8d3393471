"""Networks of a user's own code, by module:function."""

import sys
from pathlib import Path


def ensure_working_folder_importable() -> None:
    """As for `python -m`, a module:function is looked for in the working folder too."""
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
