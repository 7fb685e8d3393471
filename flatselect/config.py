"""The sections of a study file and what each of their keys may be."""

import difflib
import os
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    PositiveInt,
    StringConstraints,
    Tag,
)
from pydantic_core import PydanticCustomError

from flatselect.records import Cost

Augmentation = Literal["none", "flip", "shift", "flip+shift"]
Extra = Literal["augmentation", "mixup", "noise"]
Fraction = Annotated[FiniteFloat, Field(gt=0, lt=1)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Scalar = bool | int | FiniteFloat | str

NAMED_DATA_SETS = ("digits", "FashionMNIST", "MNIST", "KMNIST", "CIFAR10", "CIFAR100", "SVHN")


def find_data_set(name: str) -> str | None:
    """The named data set that is meant: case, `-` and `_` do not matter."""
    return {_make_plain(known): known for known in NAMED_DATA_SETS}.get(_make_plain(name))


def _make_plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _check_data_set(name: str) -> str:
    kind, _, location = name.partition(":")
    if not (kind in ("folder", "arrays") and location) and find_data_set(name) is None:
        near = difflib.get_close_matches(_make_plain(name), [_make_plain(known) for known in NAMED_DATA_SETS], n=1)
        raise PydanticCustomError(
            "data_set",
            "unknown data set; {hint}expected {names}, folder:PATH or arrays:FILE.npz",
            {"hint": f"did you mean {find_data_set(near[0])}? " if near else "", "names": ", ".join(NAMED_DATA_SETS)},
        )
    return name


def _check_model(name: str) -> str:
    source, _, rest = name.partition(":")
    if name != "cnn" and not (source and rest):
        raise PydanticCustomError(
            "model", "unknown model; expected cnn, torchvision:NAME, timm:NAME or module:function"
        )
    return name


DataSetName = Annotated[str, AfterValidator(_check_data_set)]
ModelName = Annotated[str, AfterValidator(_check_model)]


class Section(BaseModel):
    """A table of a study file: unknown keys are refused, values are not converted between kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StudySection(Section):
    """`[study]`: what the search is called, how long it runs, and who suggests."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    storage: str | None = Field(None, description="SQLAlchemy URL; default: NAME.db beside the study file")
    storage_timeout: NonNegative = Field(
        600.0, description="seconds that a running search waits for a database which stops answering"
    )
    checkpoints: str | None = Field(
        None, description="folder or fsspec URL that all nodes share; default: NAME-checkpoints beside the study file"
    )
    keep_checkpoints: PositiveInt | None = Field(
        None, description="best trials whose checkpoints are kept once they have ended; default: those of all"
    )
    logs: str | None = Field(None, description="folder of log files, one of each process; default: none are written")
    log_json: bool = Field(False, description="log lines are JSON objects")
    trials: PositiveInt = Field(20, description="trials in all, calibration trials and earlier runs included")
    timeout: Positive | None = Field(None, description="seconds after which no new trial starts")
    trial_timeout: Positive | None = Field(
        None,
        description="seconds that an attempt may take; then the trial fails and its worker is replaced",
    )
    sampler: Literal["tpe", "random", "gp", "nsga2"] = "tpe"
    population: Annotated[int, Field(ge=2)] = Field(16, description="of nsga2: trials a generation")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    objective: Literal["predicted_test_score"] = "predicted_test_score"
    direction: Literal["maximize"] = "maximize"
    minimize: list[Cost] = Field([], description="costs that are objectives too: parameters, latency")
    stop_improvement: Positive | None = Field(
        None, description="no new trial starts once one more is expected to raise the best predicted test score by less"
    )
    retrain_top: Annotated[int, Field(ge=0)] = Field(
        0,
        description="best trials that, where they held out images or were pruned, are trained again on all, to the end",
    )
    max_failures_in_row: PositiveInt = Field(5, description="failed trials in a row after which the search stops")


class DataSection(Section):
    """`[data]`: the labelled images to train on, and those that only an audit after the search may see."""

    train: DataSetName = Field(description="digits, a torchvision set by name, folder:PATH or arrays:FILE.npz")
    audit: DataSetName | None = Field(None, description="the same forms; a named set's own test part")
    size: PositiveInt | None = Field(None, description="training images, drawn by class; default: all")
    audit_size: PositiveInt | None = None
    unlabeled: DataSetName | None = Field(
        None, description="images from where the network will be used: nobody looks at labels; not those of the audit"
    )
    unlabeled_size: PositiveInt = Field(1000, description="of these, drawn by lot")
    root: str | None = Field(None, description="folder of torchvision's sets")
    download: bool = False
    image_size: PositiveInt | None = Field(None, description="images are resized to this height and width")
    mean: list[FiniteFloat] | None = Field(None, description="by channel, on [0, 1]; default: of the training images")
    std: list[Positive] | None = None
    augmentation: Augmentation = "none"
    loader_workers: Annotated[int, Field(ge=0)] = Field(0, description="DataLoader processes, for folder: sets")


class CnnArchitecture(Section):
    """`[model.args]` of the built-in family `cnn`: stages of blocks, global average pooling, one linear layer."""

    width: Annotated[int, Field(ge=1, le=4096)] = Field(16, description="channels of the first stage")
    width_growth: Annotated[FiniteFloat, Field(ge=1, le=4)] = Field(2.0, description="channels, stage over stage")
    stages: Annotated[int, Field(ge=1, le=6)] = 2
    depth: Annotated[int, Field(ge=1, le=64)] = Field(1, description="blocks a stage")
    kernel_size: Literal[1, 3, 5, 7, 9] = 3
    block: Literal["plain", "residual", "depthwise", "inverted_residual"] = "plain"
    expansion: Annotated[int, Field(ge=1, le=12)] = Field(4, description="of inverted residual blocks")
    downsampling: Literal["stride", "max_pool", "average_pool"] = "stride"
    norm: Literal["batch", "group", "none"] = "batch"
    activation: Literal["relu", "leaky_relu", "relu6", "silu"] = "relu"
    dropout: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0
    last_conv1x1: bool = Field(False, description="a last 1×1 convolution before the pooling")


class ModelSection(Section):
    """`[model]`: which family is searched, and its fixed arguments."""

    name: ModelName = Field("cnn", description="cnn, torchvision:NAME, timm:NAME or module:function")
    args: dict[str, Any] = Field(default_factory=dict, description="fixed arguments of the model")


class TrainingSection(Section):
    """`[training]`: every hyper-parameter of training; `[search_space]` may vary each."""

    epochs: PositiveInt = 10
    batch_size: PositiveInt = 64
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: Positive = 0.05
    momentum: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(0.9, description="of sgd")
    nesterov: bool = False
    weight_decay: NonNegative = 0.0
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: NonNegative = 0.0
    step_epochs: PositiveInt = Field(10, description="of the step schedule")
    step_factor: Annotated[FiniteFloat, Field(gt=0, le=1)] = Field(0.1, description="of the step schedule")
    label_smoothing: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0
    gradient_clip: Positive | None = Field(None, description="largest norm of the gradient")
    target_train_loss: Positive | None = Field(None, description="training ends early at this training loss")
    mixed_precision: bool = Field(True, description="bfloat16 autocast, on a GPU only")
    compile: bool = Field(False, description="torch.compile: a minute a trial, to be won back by long training")
    flatness_penalty: NonNegative = Field(0.0, description="relative GAP flatness times this is added to the loss")
    # Of an image the penalty costs two to three times what the loss does. Batches are shuffled, so its first images are
    # as good a sample as any; 32 are enough for batch norm's statistics, and a strength means the same at every
    # batch_size.
    flatness_penalty_images: PositiveInt = Field(32, description="first images of each batch that it is computed on")


class MeasureSection(Section):
    """`[measure]`: when and on what flatness is measured."""

    every: PositiveInt = Field(1, description="epochs; the last one is always measured")
    probe: PositiveInt = Field(512, description="training images, drawn once for the whole study")
    batch_size: PositiveInt = 256
    layer: str | None = Field(None, description="by name; default: the last convolution before the pooling")
    extras: list[Extra] = Field(
        [], description="augmentation, mixup, noise: companions with forward passes of their own"
    )
    latency_batch_size: PositiveInt = Field(1, description="images a forward pass, where study.minimize has latency")


class CalibrationSection(Section):
    """`[calibration]`: where the map from flatness to the test gap comes from.

    With an `artifact`, `estimator` and `coverage` are the artifact's own where the study file does not name them; where
    it does, the artifact's rows are fitted anew with them.
    """

    trials: Annotated[int, Field(ge=0)] = Field(8, description="first trials, each holding out a part of the data")
    holdout: Fraction = Field(0.2, description="part of the labelled data a calibration trial holds out")
    coverage: Fraction = Field(0.9, description="of the prediction intervals")
    estimator: Literal["ridge", "isotonic", "gaussian_process", "gradient_boosting", "ensemble", "auto"] = "ridge"
    artifact: str | None = Field(None, description="a calibrator's JSON file, used instead of calibration trials")
    artifact_trials: Annotated[int, Field(ge=0)] = Field(
        0, description="first trials that hold out a part though there is an artifact, and are added to its rows"
    )

    @property
    def n_trials(self) -> int:
        """Calibration trials the study needs."""
        return self.trials if self.artifact is None else self.artifact_trials


class PrunerSection(Section):
    """`[pruner]`: when a trial is given up."""

    name: Literal["flatness", "median", "none"] = "flatness"
    startup_trials: Annotated[int, Field(ge=0)] = Field(4, description="finished trials before any is pruned")
    warmup_epochs: Annotated[int, Field(ge=0)] = Field(0, description="epochs of each trial before it may be pruned")
    patience: PositiveInt = Field(1, description="epochs in a row that must speak for pruning")
    margin: NonNegative = Field(0.0, description="by how much the upper bound must fall short")
    reference: Literal["median", "upper_quartile", "best"] = Field(
        "best", description="of the values that finished trials ended with: what is needed"
    )
    confidence: Annotated[FiniteFloat, Field(ge=0.5, lt=1)] = Field(
        0.7, description="with what probability the final value is to be under the upper bound"
    )


class RaySection(Section):
    """`[ray]`: where trials run."""

    backend: Literal["ray", "inline"] = "ray"
    address: str | None = Field(None, description="of a running cluster; default: RAY_ADDRESS, else a local Ray")
    workers: PositiveInt | None = Field(
        None, description="at most; default: one a core, or a GPU share, of the nodes there are"
    )
    autoscaling: bool = Field(False, description="ask for workers that no node has room for yet, up to `workers`")
    worker_timeout: Positive = Field(600, description="seconds without any worker after which the search stops")
    runtime_env: dict[str, Any] = Field(default_factory=dict, description="of the workers, as Ray takes it")
    cpus_per_trial: Positive = 1
    gpus_per_trial: NonNegative | None = Field(None, description="0, 1/k, 1 or n; default: 1 if there is a GPU")
    max_failures: Annotated[int, Field(ge=0)] = Field(3, description="worker deaths a trial survives")
    dashboard: bool = False
    metrics: bool = Field(False, description="trials and epochs as metrics of Ray's, for Prometheus")

    def find_address(self) -> str:
        """The cluster's address, by this section or RAY_ADDRESS; `local` where a search starts Ray for itself."""
        return self.address or os.environ.get("RAY_ADDRESS") or "local"


class FloatRange(Section):
    """A real-valued hyper-parameter between `low` and `high`."""

    type: Literal["float"]
    low: FiniteFloat
    high: FiniteFloat
    log: bool = False
    step: Positive | None = None
    when: dict[str, Any] = Field(default_factory=dict)


class IntRange(Section):
    """A whole-numbered hyper-parameter between `low` and `high`."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: PositiveInt = 1
    when: dict[str, Any] = Field(default_factory=dict)


class Choices(Section):
    """A hyper-parameter that is one of a few values."""

    type: Literal["categorical"]
    choices: Annotated[list[Scalar], Field(min_length=1)]
    when: dict[str, Any] = Field(default_factory=dict)


Range = FloatRange | IntRange | Choices


def _kind_of_value(value: Any) -> str:
    """Which entry a `[search_space]` value is: a table says so by its `type`, anything else is fixed."""
    if isinstance(value, dict):
        return str(value.get("type", "missing"))
    return value.type if isinstance(value, Range) else "fixed"


SearchSpaceEntry = Annotated[
    Annotated[FloatRange, Tag("float")]
    | Annotated[IntRange, Tag("int")]
    | Annotated[Choices, Tag("categorical")]
    | Annotated[Scalar | list[Any], Tag("fixed")],
    Discriminator(
        _kind_of_value,
        custom_error_type="search_space_type",
        custom_error_message='a range needs type = "float", "int" or "categorical"',
    ),
]


class StudyConfig(Section):
    """A whole study file."""

    study: StudySection
    data: DataSection
    search_space: dict[str, SearchSpaceEntry] = Field(default_factory=dict)
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    measure: MeasureSection = MeasureSection()
    calibration: CalibrationSection = CalibrationSection()
    pruner: PrunerSection = PrunerSection()
    ray: RaySection = RaySection()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a study file would hold them, kept in the database, by workers and in exported models.

        The storage is left out, whose URL may hold a password, and so is the runtime environment, whose variables may.
        """
        exclude = {"study": {"storage"}, "ray": {"runtime_env"}}
        return self.model_dump(mode="json", exclude_none=True, exclude=exclude)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls.model_validate(values)


def describe_unknown_key(key: str, known: Iterable[str]) -> str:
    """What to say of a key nobody knows: the nearest known one, else all of them."""
    names = sorted(set(known))
    near = difflib.get_close_matches(key, names, n=1)
    return f"unknown key; did you mean {near[0]!r}?" if near else f"unknown key; allowed: {', '.join(names)}"
