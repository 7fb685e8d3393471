"""Half a minute of `tests/chaos.py`: that it works, and that nothing is lost. The long form is run by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.ray
@pytest.mark.postgresql
@pytest.mark.end_to_end
def test_half_a_minute_of_chaos_loses_nothing() -> None:
    command = [sys.executable, str(Path(__file__).parents[1] / "chaos.py"), "--minutes", "0.5", "--seed", "4"]
    done = subprocess.run([*command, "--pause", "4"], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    books = json.loads(done.stdout)
    assert books["n_faults"] > 0
    assert books["trials"] == 8
    assert (books["losses"], books["duplicates"], books["unfinished"], books["differences"]) == (0, 0, 0, [])
