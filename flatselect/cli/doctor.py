"""`flatselect doctor`: what is wrong with the machine, the cluster, the database or the data, and how to mend it."""

import sys
from collections.abc import Sequence

import click
from rich.text import Text

from flatselect.cli.output import make_table, print_json, print_table
from flatselect.doctor.examination import examine
from flatselect.doctor.finding import Finding

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
_EPILOG = """\b
Examples:
  flatselect doctor
  flatselect doctor studies/digits.toml
  flatselect doctor STUDY.toml --storage postgresql://USER@HOST/DATABASE --ray-address auto --json

Nothing is changed. Exits with 0 if nothing is a problem, else with 1."""


@click.command("doctor", epilog=_EPILOG)
@click.argument("study", required=False, metavar="[STUDY.toml]", type=click.Path())
@click.option("--storage", metavar="URL", help="Database; default: the study's.")
@click.option("--ray-address", metavar="A", help="A running cluster; default: the study's, else RAY_ADDRESS.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: healthy, findings.")
def doctor(study: str | None, storage: str | None, ray_address: str | None, as_json: bool) -> None:
    """Check what a search needs, say what is wrong and how to mend it.

    Looks at Python, packages, torch, GPUs, threads and Ray; with a study file also at its data, its database and the
    folder of its checkpoints.
    """
    findings = list(examine(study, storage, ray_address))
    is_healthy = all(finding.verdict != "problem" for finding in findings)
    if as_json:
        print_json({"healthy": is_healthy, "findings": [finding.to_dict() for finding in findings]})
    else:
        _print_findings(findings)
    sys.exit(0 if is_healthy else 1)


def _print_findings(findings: Sequence[Finding]) -> None:
    table = make_table(["", "check"], "found", [])
    for finding in findings:
        found = finding.found if finding.remedy is None else f"{finding.found}\n→ {finding.remedy}"
        table.add_row(Text(finding.verdict, _STYLES[finding.verdict]), Text(finding.subject), Text(found))
    print_table(table)
