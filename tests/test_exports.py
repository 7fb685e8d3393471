import subprocess
import sys

import pytest

import flatselect


def test_import_loads_neither_torch_nor_ray() -> None:
    code = "import sys, flatselect; dir(flatselect); print({'torch', 'ray', 'optuna', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", flatselect.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(flatselect, name) is getattr(flatselect, name)
    assert name in dir(flatselect)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = flatselect.nothing
