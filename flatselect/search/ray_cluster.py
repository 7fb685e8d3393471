"""The Ray that a search runs on: started here or joined, and how many workers its nodes hold."""

import contextlib
import importlib
import logging
import os
import re
import signal
import socket
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

# Read by Ray when it is imported: no question and no report about usage, and no warning on machines without a GPU.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "1")

import ray
from ray.exceptions import AuthenticationError, RayError

from flatselect.config import RaySection
from flatselect.errors import SearchError
from flatselect.search.hidden_passwords import hide_passwords
from flatselect.search.signal_handling import handle_signals

_CONNECT_SECONDS = 10
_AUTH_MODE = "RAY_AUTH_MODE"
_REASON_LENGTH = 400
# The token of a head that `ray start` has started; Ray reads the mode when it is imported.
_TOKEN_HINT = (
    "if the cluster has token authentication, as `ray start` sets it up, set RAY_AUTH_MODE=token and give its token as "
    "RAY_AUTH_TOKEN or in ~/.ray/auth_token"
)


class RayConnection(NamedTuple):
    """What is to be undone, and what may be done, on the Ray that is used.

    Attributes:
        is_made_here: Whether this search connected, and so disconnects.
        is_local: Whether this search started Ray for itself.
        auth_mode: The environment's RAY_AUTH_MODE before.
    """

    is_made_here: bool
    is_local: bool
    auth_mode: str | None = None

    def close(self) -> None:
        """Leaves Ray, if this search joined or started it."""
        if self.is_made_here:
            leave(self.auth_mode)


@contextlib.contextmanager
def _interrupted_afterwards() -> Iterator[None]:
    """Ctrl-C is heard at the end of the block: a process whose Ray is half ended is ended by it, with an error."""
    pressed: list[int] = []
    with handle_signals(lambda number, frame: pressed.append(number), signal.SIGINT):
        yield
    if pressed:
        raise KeyboardInterrupt


def leave(auth_mode: str | None) -> None:
    """Disconnects this process and puts its way of authentication back.

    A Ray that is started for this machine sets RAY_AUTH_MODE=token, and Ray 2.60 keeps that for the process: the head
    of a cluster without tokens that it joins next cannot talk back to it, and ends its actors before they start.
    """
    with _interrupted_afterwards():
        ray.shutdown()
        _put_back(auth_mode)


def _put_back(auth_mode: str | None) -> None:
    if os.environ.get(_AUTH_MODE) == auth_mode:
        return
    if auth_mode is None:
        del os.environ[_AUTH_MODE]
    else:
        os.environ[_AUTH_MODE] = auth_mode
    with contextlib.suppress(ImportError, AttributeError):  # none of them is Ray's public interface
        core: Any = importlib.import_module("ray._raylet")
        core.Config.initialize("")
        core.AuthenticationTokenLoader.instance().reset_cache()


def connect(options: RaySection, passwords: Collection[str], own_module: Path | None) -> RayConnection:
    """Joins the cluster at the option's or RAY_ADDRESS's address, else starts Ray here.

    Args:
        options: Of the study.
        passwords: That no process of Ray's is to see.
        own_module: The user's module that builds the models: sent to a cluster's workers, where the runtime
            environment brings no code of its own.

    Raises:
        SearchError: Ray cannot be reached, or refuses.
    """
    runtime_env = dict(options.runtime_env)
    if ray.is_initialized():
        if runtime_env:
            raise SearchError("ray.runtime_env: Ray runs in this process already; give it to ray.init instead")
        return RayConnection(is_made_here=False, is_local=False)
    auth_mode = os.environ.get(_AUTH_MODE)
    address = options.find_address()
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        settings["include_dashboard"] = options.dashboard
        if options.workers is not None:
            # Asked for more workers than cores: Ray would let them wait for ever, the machine only shares its cores.
            settings["num_cpus"] = max(os.cpu_count() or 1, int(options.workers * options.cpus_per_trial + 0.999))
    else:
        _check_reachable(address)
        if own_module is not None and not {"working_dir", "py_modules"} & runtime_env.keys():
            runtime_env["py_modules"] = [str(own_module)]
    if runtime_env:
        settings["runtime_env"] = runtime_env
    try:
        with hide_passwords(passwords):
            ray.init(address=address, **settings)
    except (AuthenticationError, ConnectionError) as error:
        raise SearchError(
            f"Ray at {address!r} does not let this process in ({first_line(error)}); {_TOKEN_HINT}"
        ) from error
    except (RuntimeError, TypeError, ValueError, TimeoutError, RayError) as error:
        hint = "start it with `ray start --head`, or leave out the address to run on this machine"
        if runtime_env:
            hint = f"ray.runtime_env = {runtime_env} must be one that Ray takes; else {hint}"
        raise SearchError(f"Ray cannot be used at {address!r} ({describe_error(error)}); {hint}") from error
    return RayConnection(is_made_here=True, is_local=address == "local", auth_mode=auth_mode)


def _check_reachable(address: str) -> None:
    """Ray itself tries for two minutes, then ends this process."""
    if (match := re.fullmatch(r"(?:ray://)?([^/]+):(\d+)", address)) is None:
        return
    try:
        with socket.create_connection((match[1], int(match[2])), timeout=_CONNECT_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        raise SearchError(
            f"Ray cannot be reached at {address!r} ({error}); start it with `ray start --head`, or leave out the "
            "address to run on this machine"
        ) from error


def choose_gpus(options: RaySection) -> float:
    """GPUs a worker has.

    Raises:
        SearchError: Ray has fewer, or they cannot be shared so.
    """
    available = ray.cluster_resources().get("GPU", 0.0)
    wanted = options.gpus_per_trial
    if wanted is None:
        return 1.0 if available else 0.0
    if wanted > available and not options.autoscaling:
        # Ray would wait for ever for GPUs that do not exist.
        raise SearchError(
            f"gpus_per_trial = {wanted:g}, but Ray has {available:g} GPUs; use at most that, or 0 to train on CPUs"
        )
    if wanted > 1 and wanted != int(wanted):
        raise SearchError(f"gpus_per_trial = {wanted:g}: above 1 it must be a whole number")
    return wanted


def choose_workers(options: RaySection, gpus: float) -> tuple[int, tuple[str, ...]]:
    """As many workers as were asked for, if Ray can place them; by default as many as fit now.

    Raises:
        SearchError: They do not fit, and no autoscaler would make room for them.
    """
    if options.autoscaling:
        assert options.workers is not None, "the study file's check"
        return options.workers, ()
    resources = ray.cluster_resources()
    fits = count_fitting(options.cpus_per_trial, gpus)
    if fits < 1 or (options.workers or 1) > fits:
        raise SearchError(
            f"{options.workers or 1} workers of {options.cpus_per_trial:g} CPUs and {gpus:g} GPUs do not fit: "
            f"Ray has {resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs; ask for at most {fits} "
            "workers, or for less a trial (ray.cpus_per_trial, --gpus-per-trial)"
        )
    n_workers = options.workers or fits
    n_cores = os.cpu_count() or 1
    if len(find_nodes()) == 1 and resources.get("CPU", 0) > n_cores and n_workers > n_cores and not gpus:
        return n_workers, (f"{n_workers} workers share {n_cores} cores: each will be slower",)
    return n_workers, ()


def find_nodes() -> dict[str, dict[str, float]]:
    """The resources of the nodes that are alive, by node id."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def count_fitting(cpus: float, gpus: float, without: Collection[str] = ()) -> int:
    """How many workers the nodes hold, if nothing else runs there; the nodes `without` do not count."""
    return sum(count_workers_on(node, cpus, gpus) for name, node in find_nodes().items() if name not in without)


def count_workers_on(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many workers Ray can place on one node: a worker does not span nodes, nor a fraction of a GPU two of them."""
    by_cpus = int(node.get("CPU", 0) / cpus + 1e-9)
    if not gpus:
        return by_cpus
    n_gpus = int(node.get("GPU", 0))
    return min(by_cpus, int(n_gpus / gpus) if gpus >= 1 else n_gpus * int(1 / gpus + 1e-9))


def first_line(error: BaseException) -> str:
    return next(iter(_list_lines(error)), type(error).__name__)


def describe_error(error: BaseException) -> str:
    """What Ray says, in one line: of a traceback its last line, of an actor's death the cause without its ids."""
    lines = _list_lines(error)
    if any(line.startswith("Traceback") or "ray::" in line for line in lines):
        return lines[-1][:_REASON_LENGTH]
    told = [line for line in lines if not re.match(r"(class_name|actor_id|namespace|pid|name):", line)]
    return " ".join(told)[:_REASON_LENGTH] or type(error).__name__


def _list_lines(error: BaseException) -> list[str]:
    plain = re.sub(r"\x1b\[[\d;]*m", "", str(error))
    return [line.strip() for line in plain.splitlines() if line.strip()]
