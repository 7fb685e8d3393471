"""Reading a study file: TOML, overrides, paths, and every mistake in one message that names file, key and value.

Paths in a study file are relative to the file; paths in overrides are relative to the working folder.
"""

import copy
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydantic

from flatselect.config import StudyConfig, describe_unknown_key
from flatselect.errors import ConfigError
from flatselect.file_location import is_url
from flatselect.search_space import find_problems

_MISSING = "is missing"
_PATH_KEYS = (("data", "root"), ("study", "checkpoints"), ("study", "logs"), ("calibration", "artifact"))
_PREFIXED_PATH_KEYS = (("data", "train"), ("data", "audit"), ("data", "unlabeled"))
_SQLITE = "sqlite:///"


def load_study_file(path: str | Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Reads and checks a study file.

    Args:
        path: A TOML file.
        overrides: `section.key=value` texts that win over the file; a value is TOML, or else a plain text.

    Returns:
        The study, every path absolute, `study.storage` and `study.checkpoints` filled in.

    Raises:
        ConfigError: One message with every mistake: file, key, value, what is allowed.
    """
    path = Path(path)
    values = _read_toml(path)
    _make_paths_absolute(values, path.parent.absolute())
    for override in overrides:
        keys, value = _parse_override(override)
        nested: dict[str, Any] = {keys[0]: {}}
        _set_value(nested, keys, value, override)
        _make_paths_absolute(nested, Path.cwd())
        _set_value(values, keys, _get_value(nested, keys), override)
    config = check_study(values, str(path))
    folder = path.parent.absolute()
    study = config.study.model_copy(
        update={
            "storage": config.study.storage or f"{_SQLITE}{folder / config.study.name}.db",
            "checkpoints": config.study.checkpoints or str(folder / f"{config.study.name}-checkpoints"),
        }
    )
    return config.model_copy(update={"study": study})


def check_study(values: dict[str, Any], source: str) -> StudyConfig:
    """Validates a study's plain values; `source` names them in the message of the ConfigError."""
    try:
        config = StudyConfig.from_dict(values)
    except pydantic.ValidationError as error:
        problems = list(_pydantic_problems(error, values))
        # What else is wrong is said at once, not on the next try.
        if (rest := _load_without_mistakes(error, values)) is not None:
            problems += find_problems(rest)
    else:
        problems = [*find_problems(config), *_conflicts(config)]
        if not problems:
            return config
    lines = [
        f"  {key}{'' if message == _MISSING else f' = {_short(value)}'}: {message}" for key, value, message in problems
    ]
    raise ConfigError(f"{source}: {len(lines)} mistake{'s' * (len(lines) > 1)}\n" + "\n".join(lines))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such study file; expected a TOML file, for example studies/digits.toml"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); a study is a TOML file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); a study is a TOML file") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _parse_override(override: str) -> tuple[list[str], Any]:
    key, equals, text = override.partition("=")
    keys = key.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise ConfigError(f"--set {override}: expected section.key=value, for example training.epochs=5")
    try:
        return keys, tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return keys, text.strip()


def _set_value(values: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for depth, key in enumerate(keys[:-1], 1):
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: {'.'.join(keys[:depth])} is {values!r}, not a table")
    values[keys[-1]] = value


def _get_value(values: dict[str, Any], keys: list[str]) -> Any:
    for key in keys:
        values = values[key]
    return values


def _make_paths_absolute(values: dict[str, Any], base: Path) -> None:
    def absolute(text: str) -> str:
        if is_url(text):
            return text
        return str((base / Path(text).expanduser()).absolute())

    for section, key in _PATH_KEYS:
        if isinstance(text := _lookup(values, section, key), str):
            values[section][key] = absolute(text)
    for section, key in _PREFIXED_PATH_KEYS:
        if isinstance(text := _lookup(values, section, key), str) and text.startswith(("folder:", "arrays:")):
            prefix, _, name = text.partition(":")
            values[section][key] = f"{prefix}:{absolute(name)}"
    url = _lookup(values, "study", "storage")
    if isinstance(url, str) and url.startswith(_SQLITE) and url != f"{_SQLITE}:memory:":
        values["study"]["storage"] = _SQLITE + absolute(url.removeprefix(_SQLITE))


def _lookup(values: dict[str, Any], section: str, key: str) -> Any:
    table = values.get(section)
    return table.get(key) if isinstance(table, dict) else None


def _pydantic_problems(error: pydantic.ValidationError, values: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    for item in error.errors():
        location = _given_location(item["loc"], values)
        key = ".".join(str(part) for part in location)
        message = item["msg"].removeprefix("Input ")
        if item["type"] == "extra_forbidden":
            message = describe_unknown_key(str(location[-1]), _known_keys(location[:-1], item["loc"]))
        if item["type"] == "missing":
            yield key, None, _MISSING
        elif item["loc"][:1] == ("search_space",) and item["loc"][2:3] == ("fixed",):
            if item["loc"][3:4] == ("float",):  # one of the kinds that were tried in turn
                yield (
                    key.rpartition(".")[0],
                    item["input"],
                    "should be a finite number, a string, true, false or a list",
                )
        elif item["type"] == "string_pattern_mismatch":
            yield key, item["input"], "should be letters, digits, '.', '_' and '-', the first a letter or digit"
        else:
            yield key, item["input"], message


def _load_without_mistakes(error: pydantic.ValidationError, values: dict[str, Any]) -> StudyConfig | None:
    """The study less the keys that `error` is about; None if it needs them."""
    rest = copy.deepcopy(values)
    for item in error.errors():
        *parents, key = _given_location(item["loc"], values)
        table: Any = rest
        for parent in parents:
            table = table.get(parent) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table.pop(key, None)
    for section, key in (("study", "name"), ("data", "train")):
        if isinstance(table := rest.setdefault(section, {}), dict):
            table.setdefault(key, "digits")
    try:
        return StudyConfig.from_dict(rest)
    except pydantic.ValidationError:
        return None


def _given_location(location: tuple[int | str, ...], values: dict[str, Any]) -> tuple[int | str, ...]:
    """A pydantic location without the tags of unions, which stand nowhere in the file."""
    if location[:1] == ("search_space",) and len(location) > 2:
        return (*location[:2], *location[3:])
    return location


def _known_keys(parents: tuple[int | str, ...], tagged: tuple[int | str, ...]) -> list[str]:
    """The keys allowed in the table at `parents`."""
    if not parents:
        return list(StudyConfig.model_fields)
    if parents[0] == "search_space":
        return {
            "float": ["type", "low", "high", "log", "step", "when"],
            "int": ["type", "low", "high", "log", "step", "when"],
        }.get(str(tagged[2]), ["type", "choices", "when"])
    section = StudyConfig.model_fields[str(parents[0])].annotation
    return list(getattr(section, "model_fields", {}))


def _conflicts(config: StudyConfig) -> Iterator[tuple[str, Any, str]]:
    """Yields the mistakes that only several keys together make."""
    calibration, trials = config.calibration, config.study.trials
    if calibration.artifact is None and calibration.trials < 4:
        yield (
            "calibration.trials",
            calibration.trials,
            "must be at least 4 to fit a calibrator, or give one as calibration.artifact",
        )
    elif calibration.artifact is None and trials < 4:
        yield "study.trials", trials, "must be at least 4, to fit a calibrator on, or give one as calibration.artifact"
    if calibration.artifact is None and calibration.artifact_trials:
        yield "calibration.artifact_trials", calibration.artifact_trials, "goes with calibration.artifact only"
    if config.data.audit is not None and config.data.audit == config.data.unlabeled:
        yield (
            "data.unlabeled",
            config.data.unlabeled,
            "are the audit's images; an audit sees what nothing else has seen",
        )
    if config.data.audit == config.data.train and config.data.train.startswith(("folder:", "arrays:")):
        yield "data.audit", config.data.audit, "is the training set itself; an audit needs images of its own"
    for key in ("mean", "std"):
        if (getattr(config.data, key) is None) != (config.data.mean is None or config.data.std is None):
            yield f"data.{key}", getattr(config.data, key), "mean and std go together; give both or neither"
    for key in ("patience", "margin", "reference", "confidence") if config.pruner.name != "flatness" else ():
        if key in config.pruner.model_fields_set:
            yield f"pruner.{key}", getattr(config.pruner, key), 'is of pruner.name = "flatness" only'
    if len(set(config.study.minimize)) < len(config.study.minimize):
        yield "study.minimize", config.study.minimize, "names a cost twice"
    if config.study.minimize and config.pruner.name == "median":
        yield "pruner.name", "median", 'cannot prune where study.minimize names costs; use "flatness" or "none"'
    if config.study.minimize and config.study.stop_improvement is not None:
        yield (
            "study.stop_improvement",
            config.study.stop_improvement,
            "is for one objective; study.minimize adds others",
        )
    for section, key, goes_with in (
        (config.study, "population", config.study.sampler == "nsga2" or 'sampler = "nsga2"'),
        (config.measure, "latency_batch_size", "latency" in config.study.minimize or 'minimize = ["latency"]'),
    ):
        if key in section.model_fields_set and goes_with is not True:
            name = "study" if section is config.study else "measure"
            yield f"{name}.{key}", getattr(section, key), f"goes with study.{goes_with} only"
    if config.ray.autoscaling and config.ray.workers is None:
        yield "ray.autoscaling", True, "needs ray.workers, how many there may be at most"
    if config.ray.backend != "inline" and (config.study.checkpoints or "").startswith("memory://"):
        yield "study.checkpoints", config.study.checkpoints, 'is one process\'s memory: for backend = "inline" only'
    if config.ray.backend == "inline" and (config.ray.workers or 1) > 1:
        yield "ray.workers", config.ray.workers, 'backend = "inline" is one worker in this process'


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
