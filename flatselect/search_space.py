"""The search space: from Optuna's suggestions to a candidate network and how it is trained."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pydantic

from flatselect.config import (
    Choices,
    CnnArchitecture,
    DataSection,
    FloatRange,
    IntRange,
    ModelSection,
    Range,
    StudyConfig,
    TrainingSection,
    describe_unknown_key,
)
from flatselect.errors import ConfigError


class Suggester(Protocol):
    """The part of `optuna.Trial` that a search space needs."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...
    def suggest_categorical(self, name: str, choices: list[Any]) -> Any: ...


@dataclass(frozen=True)
class Candidate:
    """One point of the search space: a network and how it is trained.

    Attributes:
        model: `cnn`, `torchvision:NAME`, `timm:NAME` or `module:function`.
        model_args: Keyword arguments of the model.
        training: Every hyper-parameter of training.
        augmentation: Of the training images.
    """

    model: str
    model_args: dict[str, Any]
    training: TrainingSection
    augmentation: str

    def describe(self) -> str:
        """The architecture in short, for a table: `cnn 2×1 residual w16 k3 relu`."""
        if self.model != "cnn":
            arguments = " ".join(f"{key}={value}" for key, value in self.model_args.items())
            return f"{self.model} {arguments}".strip()
        cnn = CnnArchitecture.model_validate(self.model_args)
        parts = [f"cnn {cnn.stages}×{cnn.depth} {cnn.block} w{cnn.width} k{cnn.kernel_size} {cnn.activation}"]
        parts += [f"{cnn.norm} norm"] if cnn.norm != "batch" else []
        parts += ["1×1"] if cnn.last_conv1x1 else []
        return " ".join(parts)


def suggest(trial: Suggester, config: StudyConfig) -> Candidate:
    """Draws one candidate: asks `trial` for every active range of `[search_space]`.

    A range with `when` is active only where the parameters it names have (one of) the values it names.
    """
    params: dict[str, Any] = {}
    values = {**_model_choice(config), **_fixed_values(config)}
    for name, entry in _in_order(config):
        if not _is_active(entry, values | params):
            continue
        if isinstance(entry, FloatRange):
            params[name] = trial.suggest_float(name, entry.low, entry.high, step=entry.step, log=entry.log)
        elif isinstance(entry, IntRange):
            params[name] = trial.suggest_int(name, entry.low, entry.high, step=entry.step, log=entry.log)
        else:
            params[name] = trial.suggest_categorical(name, entry.choices)
    return make_candidate(config, params)


def make_candidate(config: StudyConfig, params: Mapping[str, Any]) -> Candidate:
    """The candidate that Optuna's `params` stand for, with what the study fixes."""
    values = {**_fixed_values(config), **params}
    training = {name: values.pop(name) for name in TrainingSection.model_fields if name in values}
    return Candidate(
        augmentation=values.pop("augmentation", config.data.augmentation),
        model=values.pop("model", config.model.name),
        model_args={**config.model.args, **values},
        # Validated, not copied: a value from an old database is checked like one from a file.
        training=TrainingSection.model_validate(config.training.model_dump() | training),
    )


def find_problems(config: StudyConfig) -> Iterator[tuple[str, Any, str]]:
    """Yields (key, value, what is wrong) for each mistake in `[search_space]` and `[model.args]`."""
    models = _possible_models(config)
    cnn_only = models == {"cnn"}
    for name, value in config.model.args.items() if cnn_only else ():
        if message := _field_problem(CnnArchitecture, name, value):
            yield f"model.args.{name}", value, message
    given = {
        "augmentation": "data" if "augmentation" in config.data.model_fields_set else None,
        "model": "model" if "name" in config.model.model_fields_set else None,
        **dict.fromkeys(config.training.model_fields_set, "training"),
        **dict.fromkeys(config.model.args, "model.args"),
    }
    for name, entry in config.search_space.items():
        key = f"search_space.{name}"
        if section := given.get(name):
            yield key, _shown(entry), f"is given in [{section}] too; say it once"
        if isinstance(entry, FloatRange | IntRange):
            yield from _range_problems(key, entry)
        for value in _extreme_values(entry):
            if message := _value_problem(name, value, cnn_only):
                yield key, value, message
                break
        if isinstance(entry, Range):
            yield from _condition_problems(config, name, entry)
    try:
        _in_order(config)
    except ConfigError as error:
        yield "search_space", "when", str(error)


def _fixed_values(config: StudyConfig) -> dict[str, Any]:
    return {name: entry for name, entry in config.search_space.items() if not isinstance(entry, Range)}


def _model_choice(config: StudyConfig) -> dict[str, Any]:
    """What a condition may ask for besides `[search_space]`: the sections' own values."""
    training = config.training.model_dump()
    return {"model": config.model.name, "augmentation": config.data.augmentation, **training, **config.model.args}


def _is_active(entry: Range, values: Mapping[str, Any]) -> bool:
    return all(
        values.get(name) in (wanted if isinstance(wanted, list) else [wanted]) for name, wanted in entry.when.items()
    )


def _in_order(config: StudyConfig) -> list[tuple[str, Range]]:
    """The ranges, each after those its `when` names; file order otherwise."""
    waiting = {name: entry for name, entry in config.search_space.items() if isinstance(entry, Range)}
    ordered: list[tuple[str, Range]] = []
    while waiting:
        ready = [name for name, entry in waiting.items() if not (entry.when.keys() & waiting.keys())]
        if not ready:
            raise ConfigError(f"conditions of {', '.join(sorted(waiting))} wait for each other: break the circle")
        ordered += [(name, waiting.pop(name)) for name in ready]
    return ordered


def _possible_models(config: StudyConfig) -> set[str]:
    entry = config.search_space.get("model", config.model.name)
    return {str(value) for value in entry.choices} if isinstance(entry, Choices) else {str(entry)}


def _shown(entry: Any) -> Any:
    return entry.model_dump(exclude_defaults=True) if isinstance(entry, Range) else entry


def _extreme_values(entry: Any) -> list[Any]:
    """The values of an entry that can be wrong: all choices, both ends, or the fixed value itself."""
    if isinstance(entry, Choices):
        return list(entry.choices)
    return [entry.low, entry.high] if isinstance(entry, FloatRange | IntRange) else [entry]


def _range_problems(key: str, entry: FloatRange | IntRange) -> Iterator[tuple[str, Any, str]]:
    if entry.low > entry.high:
        yield key, _shown(entry), f"low = {entry.low} is above high = {entry.high}"
    if entry.log and entry.low <= 0:
        yield key, _shown(entry), f"log = true needs low > 0, not {entry.low}"
    if entry.log and entry.step not in (None, 1):
        yield key, _shown(entry), "log = true and step exclude each other; leave one out"


def _condition_problems(config: StudyConfig, name: str, entry: Range) -> Iterator[tuple[str, Any, str]]:
    known = config.search_space.keys() | _model_choice(config).keys()
    for other, wanted in entry.when.items():
        key = f"search_space.{name}.when.{other}"
        parent = config.search_space.get(other)
        if other not in known:
            yield key, wanted, "is not a parameter of this study"
        elif isinstance(parent, Choices):
            for value in wanted if isinstance(wanted, list) else [wanted]:
                if value not in parent.choices:
                    yield key, value, f"is never chosen: {other} is one of {parent.choices}"


def _value_problem(name: str, value: Any, cnn_only: bool) -> str | None:
    if name == "model":
        return _field_problem(ModelSection, "name", value)
    if name in TrainingSection.model_fields:
        return _field_problem(TrainingSection, name, value)
    if name == "augmentation":
        return _field_problem(DataSection, name, value)
    return _field_problem(CnnArchitecture, name, value) if cnn_only else None


def _field_problem(section: type[pydantic.BaseModel], name: str, value: Any) -> str | None:
    """What `section` says of one value alone, None if nothing."""
    if name not in section.model_fields:
        return describe_unknown_key(name, [*section.model_fields, *(TrainingSection.model_fields)])
    try:
        section.model_validate({name: value})
    except pydantic.ValidationError as error:
        return next((e["msg"].removeprefix("Input ") for e in error.errors() if e["loc"][:1] == (name,)), None)
    return None
