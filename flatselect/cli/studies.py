"""`flatselect studies`: which studies a database holds."""

import click

from flatselect.cli.opening import find_database_files, make_file_url, read_study_list
from flatselect.cli.output import make_table, make_text, output_options, print_records, print_table
from flatselect.errors import ConfigError, StoreError
from flatselect.store.engine import hide_password

_EPILOG = """\b
Examples:
  flatselect studies
  flatselect studies studies/digits.db
  flatselect studies --storage postgresql://USER:PASSWORD@HOST/DATABASE --json"""


@click.command("studies", epilog=_EPILOG)
@click.argument("file", required=False, metavar="[FILE.db|URL]")
@click.option("--storage", metavar="URL", help="A database, in place of a file.")
@output_options
def studies(file: str | None, storage: str | None, output_format: str | None) -> None:
    """List the studies of a database; without one, of every .db file here and in studies/."""
    if file is not None and storage is not None:
        raise ConfigError(f"{hide_password(file)} and --storage {hide_password(storage)}: give one database, not two")
    if file is not None:
        storage = file if "://" in file else make_file_url(file)
    records = []
    for url in [storage] if storage else [make_file_url(path) for path in find_database_files()]:
        try:
            found = read_study_list(url)
        except StoreError as error:
            if storage is not None:
                raise
            click.echo(f"left out: {error}", err=True)  # one file of several that lie there by chance
            continue
        records += [
            {
                "name": study.name,
                "trials": study.n_trials,
                "images": study.data.get("name"),
                "n_images": study.data.get("n_images"),
                "data_fingerprint": study.data.get("fingerprint"),
                "created_at": study.created_at.isoformat(timespec="seconds") + "Z",
                "storage": hide_password(url),
            }
            for study in found
        ]
    if output_format is not None:
        print_records(records, output_format)
    elif records:
        table = make_table(["name", "created", "images"], "storage", ["trials"])
        for record in records:
            images = " ".join(str(record[name]) for name in ("images", "n_images") if record[name] is not None)
            shown = (record["name"], record["created_at"], images, record["storage"], record["trials"])
            table.add_row(*map(make_text, shown))
        print_table(table)
    else:
        where = hide_password(storage) if storage else "the .db files here and in studies/"
        raise StoreError(f"{where}: no study that flatselect made; `flatselect search STUDY.toml` makes one")
