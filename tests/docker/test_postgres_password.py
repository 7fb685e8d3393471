"""with-postgres-password: a real server lets the command in, and nothing that others can read has the password."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

SCRIPT = Path(__file__).parents[2] / "docker" / "with_postgres_password.sh"
PASSWORD = r"of:a\kind'%"  # with what a password file must escape
SHOW = """
import os, pathlib, stat, sys
from flatselect.store.engine import make_engine
try:
    make_engine(sys.argv[1]).dispose()
except Exception as error:
    sys.exit(str(error))
here = pathlib.Path("/proc/self")
print((here / "environ").read_bytes() + (here / "cmdline").read_bytes())
print(oct(stat.S_IMODE(os.stat(os.environ["PGPASSFILE"]).st_mode)))
"""

pytestmark = pytest.mark.postgresql


@pytest.fixture
def url_without_password(postgresql_server, postgresql_url):
    """The URL of a database on a server that asks for a password, and does not tell it."""
    user = f"ann_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgresql_server.get_uri(), autocommit=True) as connection:
        hba_file = Path(connection.execute("SHOW hba_file").fetchone()[0])
        before = hba_file.read_text()
        connection.execute(
            psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                psycopg.sql.Identifier(user), psycopg.sql.Literal(PASSWORD)
            )
        )
        hba_file.write_text(f"local all {user} scram-sha-256\nhost all {user} all scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
    yield make_url(postgresql_url).set(username=user, password=None).render_as_string(hide_password=False)
    with psycopg.connect(postgresql_server.get_uri(), autocommit=True) as connection:
        hba_file.write_text(before)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(psycopg.sql.SQL("DROP ROLE {}").format(psycopg.sql.Identifier(user)))


def run(command, secret):
    environment = {**os.environ, "POSTGRES_PASSWORD_FILE": str(secret)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_server_lets_it_in_and_the_password_stands_nowhere(url_without_password, tmp_path):
    secret = tmp_path / "postgres_password"
    secret.write_text(PASSWORD + "\n")
    command = [sys.executable, "-c", SHOW, url_without_password]
    refused = run(command, secret)
    assert refused.returncode == 1
    assert "no password supplied" in refused.stderr
    done = run(["sh", SCRIPT, *command], secret)
    assert done.returncode == 0, done.stderr
    shown, mode = done.stdout.splitlines()
    assert PASSWORD not in shown.encode().decode("unicode_escape")
    assert mode == "0o600", "libpq takes no file that others may read"


def test_a_missing_secret_is_named(tmp_path):
    done = run(["sh", SCRIPT, "true"], tmp_path / "absent")
    assert done.returncode != 0
    assert "absent" in done.stderr
