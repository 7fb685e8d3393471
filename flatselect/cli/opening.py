"""From what a user calls a study to its reader."""

from pathlib import Path

from flatselect.errors import ConfigError, StoreError
from flatselect.store.engine import hide_password, make_engine
from flatselect.store.study_reader import StudyReader, StudySummary, find_study, list_studies
from flatselect.study_file import load_study_file

_FOLDERS = (".", "studies")


def open_study_reader(study: str, storage: str | None = None) -> StudyReader:
    """Opens a study that is in a database already; no database is ever made.

    Args:
        study: A study file (`*.toml`), a database that holds one study (`*.db`, or its URL), or a study's name.
        storage: The database's URL. Default: what the study file says, or else NAME.db here or in `studies/`.

    Raises:
        ConfigError: The study file is wrong, or two databases were given.
        StoreError: There is no such database, or no such study in it.
    """
    if study.endswith(".toml"):
        config = load_study_file(study)
        return _find_study(storage or str(config.study.storage), config.study.name)
    if "://" in study or study.endswith(".db"):
        if storage is not None:
            shown = hide_password(study)
            raise ConfigError(f"{shown} is a database itself; leave out --storage, or give a study's name in its place")
        return _find_only_study(find_url(study, None))
    return _find_study(storage or make_file_url(_find_file(f"{study}.db")), study)


def open_referred_study(study: str, storage: str | None = None) -> StudyReader:
    """As `open_study_reader`, of a study whose reference is shown and remembered: a URL may hold a password.

    Raises:
        ConfigError: It is a URL.
    """
    if "://" in study:
        raise ConfigError(f"{hide_password(study)}: a database; give the name of its study, and this as --storage URL")
    return open_study_reader(study, storage)


def find_url(database: str | None, storage: str | None) -> str:
    """The URL of the database that a study file, a .db file, a URL or a study's name leads to.

    Raises:
        ConfigError: Two were given, or the study file is wrong.
        StoreError: There is no such file.
    """
    if database is None or storage is not None:
        if database is not None and (database.endswith(".db") or "://" in database):
            raise ConfigError(f"{hide_password(database)} and --storage: give one database, not two")
        return str(storage)
    if "://" in database:
        return database
    if database.endswith(".toml"):
        return str(load_study_file(database).study.storage)
    return make_file_url(database if database.endswith(".db") else _find_file(f"{database}.db"))


def make_file_url(path: str | Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{path}"


def find_database_files() -> list[Path]:
    """The SQLite files here and in `studies/`."""
    return [path for folder in _FOLDERS for path in sorted(Path(folder).glob("*.db"))]


def read_study_list(url: str) -> list[StudySummary]:
    """The studies of one database.

    Raises:
        StoreError: There is no such database.
    """
    engine = make_engine(url, create=False)
    try:
        return list_studies(engine)
    finally:
        engine.dispose()


def _find_study(url: str, name: str) -> StudyReader:
    engine = make_engine(url, create=False)
    try:
        return find_study(engine, name)
    except StoreError:
        engine.dispose()
        raise


def _find_only_study(url: str) -> StudyReader:
    names = [study.name for study in read_study_list(url)]
    if not names:
        raise StoreError(f"{hide_password(url)}: holds no study that flatselect made")
    if len(names) > 1:
        shown = hide_password(url)
        raise StoreError(
            f"{shown}: holds {len(names)} studies; name one: flatselect query NAME --storage {shown}, "
            f"where NAME is {' or '.join(names)}"
        )
    return _find_study(url, names[0])


def _find_file(name: str) -> Path:
    for folder in _FOLDERS:
        if (path := Path(folder, name)).exists():
            return path
    raise StoreError(
        f"no {name} here or in studies/ ({Path.cwd()}); give the study file, the database file, "
        "or the study's name with --storage URL"
    )
