"""Running a command as a user would, in this process."""

import json
from typing import NamedTuple

from click.testing import CliRunner

from flatselect.cli.main import cli


class Command(NamedTuple):
    """`flatselect` with the words that every call begins with, on a terminal of so many columns."""

    words: tuple[str, ...] = ()
    n_columns: int = 80

    def run(self, *arguments, **environment):
        runner = CliRunner(env={"COLUMNS": str(self.n_columns), **environment})
        return runner.invoke(cli, [*self.words, *map(str, arguments)])

    def run_json(self, *arguments):
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def refuse(self, *arguments):
        """The message of a refusal, which is no traceback and prints nothing else."""
        done = self.run(*arguments)
        assert done.exit_code == 1, done.output
        assert isinstance(done.exception, SystemExit), done.exception
        assert done.stdout == ""
        return " ".join(done.stderr.split())
