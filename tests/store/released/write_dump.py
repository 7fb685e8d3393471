"""Writes NAME.sql, the database that a small search leaves, and NAME.json, what its own `query` says of it.

    python tests/store/released/write_dump.py 0004
    python tests/store/released/write_dump.py 0001 --set pruner.name=median    # else nothing was pruned

For a version that is gone: `git archive COMMIT | tar x -C FOLDER`, and this with PYTHONPATH=FOLDER. The dumps were made
so from the last commit before the next revision. Names of machine and folders are replaced.
"""

import json
import socket
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

# Four calibrate; with a rate of 1e-6 a trial learns nothing and is pruned, with 1e30 its loss is no number.
STUDY = """
[study]
name = "released"
trials = 10
seed = 1
sampler = "random"
[data]
train = "digits"
audit = "digits"
size = 120
audit_size = 50
[search_space]
width = { type = "int", low = 4, high = 8 }
block = { type = "categorical", choices = ["plain", "residual"] }
learning_rate = { type = "categorical", choices = [0.05, 1e-6, 1e30] }
momentum = { type = "float", low = 0.5, high = 0.9 }
[training]
epochs = 3
[measure]
probe = 32
[calibration]
trials = 4
[pruner]
startup_trials = 1
warmup_epochs = 1
[ray]
backend = "inline"
"""


def run(folder: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "flatselect", *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def main(name: str, *options: str) -> None:
    target = Path(__file__).parent / name
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "released.toml").write_text(STUDY)
        run(folder, "search", "released.toml", *options)
        records = json.loads(run(folder, "query", "released.toml", "--json"))
        with closing(sqlite3.connect(folder / "released.db")) as connection:
            dump = "\n".join(connection.iterdump())
            known = {made: "/studies", socket.gethostname(): "machine"}
            if "machine" in {column[1] for column in connection.execute("PRAGMA table_info(flatselect_runs)")}:
                ((machine,),) = connection.execute("SELECT DISTINCT machine FROM flatselect_runs")
                known = {machine: "boot pid", **known}
    for old, new in known.items():
        dump = dump.replace(old, new)
    target.with_suffix(".sql").write_text(dump + "\n")
    target.with_suffix(".json").write_text(json.dumps(records, indent=1) + "\n")
    print(name, [(record["number"], record["state"]) for record in records], len(dump))


if __name__ == "__main__":
    main(*sys.argv[1:])
