"""`flatselect export`: one trial's model in one file."""

import click

from flatselect.cli.opening import open_study_reader
from flatselect.errors import ConfigError
from flatselect.search.export import export_model

_EPILOG = """\b
Examples:
  flatselect export studies/digits.toml --trial best -o model.pt
  python -c "import flatselect; print(flatselect.load('model.pt'))" """


@click.command("export", epilog=_EPILOG)
@click.argument("study")
@click.option("--trial", default="best", show_default=True, help="A trial number, or best.")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="The .pt file to write.")
@click.option("--storage", metavar="URL", help="Database, where STUDY is a study's name.")
def export(study: str, trial: str, output: str, storage: str | None) -> None:
    """Write the weights, architecture and provenance of a trial of STUDY (a study file, a .db file or a name)."""
    if trial != "best" and not trial.isdigit():
        raise ConfigError(f"--trial {trial}: expected a trial number or best")
    reader = open_study_reader(study, storage)
    written = export_model(reader, None if trial == "best" else int(trial), output)
    click.echo(f"{output}: {written.size / 1e6:.1f} MB, after {written.epoch} epochs", err=True)
