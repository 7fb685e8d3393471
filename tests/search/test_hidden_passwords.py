"""The storage's password, as it is given in every way, is looked for in all that Ray starts and writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

PASSWORD = "pass-w0rd-that-none-may-see"

SEARCH = f"""
import json, sys
from pathlib import Path
import psutil, ray
from flatselect.search.run import run_search
from flatselect.study_file import load_study_file

class Look:
    def say(self, message):
        pass
    def show(self, status):
        if status.n_epochs_run < 1:
            return
        processes = psutil.Process().children(recursive=True)
        def holds(process, name):
            return b{PASSWORD!r} in Path(f"/proc/{{process.pid}}/{{name}}").read_bytes()
        session = Path("/tmp/ray/session_latest").resolve()
        written = [path for path in session.rglob("*") if path.is_file()]
        print(json.dumps({{
            "driver": sorted(name for name in ("environ", "cmdline") if holds(psutil.Process(), name)),
            "workers": sum("TrialWorker" in "".join(process.cmdline()) for process in processes),
            "held": [str(p) for p in processes for name in ("environ", "cmdline") if holds(p, name)],
            "jobs": str(ray._private.state.jobs()),
            "files": len(written),
            "written": [str(path) for path in written if b{PASSWORD!r} in path.read_bytes()],
        }}))
        raise KeyboardInterrupt

run_search(load_study_file(sys.argv[1], ["study.storage=" + sys.argv[2], "ray.backend=ray", "ray.workers=1"]), Look())
"""


@pytest.mark.ray
@pytest.mark.postgresql
def test_no_process_of_rays_sees_the_password(tmp_path: Path, tiny_text: str, postgresql_url: str) -> None:
    url = make_url(postgresql_url).set(password=PASSWORD).render_as_string(hide_password=False)
    (tmp_path / "tiny.toml").write_text(tiny_text)
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(tmp_path / "tiny.toml"), url],
        env=os.environ | {"PGPASSWORD": PASSWORD, "DATABASE_URL": url, "SECRET": PASSWORD},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[0])
    assert found["driver"] == ["cmdline", "environ"]  # what looks would see it
    assert found["workers"] == 1
    assert found["held"] == []
    assert "flatselect search" in found["jobs"]
    assert PASSWORD not in found["jobs"]
    assert found["files"] > 0
    assert found["written"] == []
