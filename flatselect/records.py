"""The frozen records that cross the stages of a search: what is measured, predicted and remembered.

"GAP" is global average pooling, "gap" the generalisation gap; every name here says which of the two it means.
`score` is accuracy, a fraction of images in [0, 1].
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

Interval = tuple[float, float]
TrialState = Literal["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
Cost = Literal["parameters", "latency"]
Exactness = Literal["hessian", "gauss_newton"]

LATENCY = "latency_ms"


def read_costs(config: Mapping[str, Any]) -> list[Cost]:
    """What a stored study minimises besides, from the plain values of its file."""
    costs: list[Cost] = config.get("study", {}).get("minimize", [])
    return costs


@dataclass(frozen=True)
class EpochMeasurement:
    """Everything measured of one trial after one epoch of training.

    Attributes:
        epoch: Epochs trained so far, from 1.
        train_score: Accuracy on the images trained on, without augmentation, in evaluation mode.
        train_loss: Mean cross-entropy (nats) on the same images, without label smoothing.
        n_train_images: Images trained on.
        n_parameters: Trainable parameters of the model.
        relative_gap_flatness: Mean over the probe images of relative GAP flatness; None where this epoch was not
            measured (`[measure] every`).
        hessian_trace: Mean over the probe of the trace of the loss's Hessian in the same layer's weights.
        layer: Name of the measured convolution in the model.
        exactness: "hessian" where the formula is the Hessian's, "gauss_newton" where a smooth activation or a
            normalisation leaves out the term that needs labels.
        n_probe_images: Images in the probe.
        flatness_standard_error: Of `relative_gap_flatness`, the probe's images being the units; None where it is not
            known, NaN of one image.
        companions: Label-free measures of the same forward pass, by name (see `flatselect.measures`).
        holdout_score: Accuracy on the held-out labelled part; None unless this is a calibration trial.
        holdout_loss: Mean cross-entropy on the held-out part.
        n_holdout_images: Images held out.
        train_seconds: Wall-clock seconds of training in this epoch.
        measure_seconds: Wall-clock seconds of evaluating and measuring after it.
    """

    epoch: int
    train_score: float
    train_loss: float
    n_train_images: int
    n_parameters: int
    relative_gap_flatness: float | None = None
    hessian_trace: float | None = None
    layer: str | None = None
    exactness: Exactness | None = None
    n_probe_images: int = 0
    flatness_standard_error: float | None = None
    companions: dict[str, float] = field(default_factory=dict)
    holdout_score: float | None = None
    holdout_loss: float | None = None
    n_holdout_images: int = 0
    train_seconds: float = 0.0
    measure_seconds: float = 0.0

    @property
    def test_gap(self) -> float | None:
        """Measured generalisation gap: training score − held-out score; None unless a part was held out."""
        return None if self.holdout_score is None else self.train_score - self.holdout_score

    @property
    def is_measured(self) -> bool:
        """Whether flatness was measured at this epoch."""
        return self.relative_gap_flatness is not None

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds an image, where latency is an objective of the study; it is kept among the companions."""
        return self.companions.get(LATENCY)

    def cost(self, name: Cost) -> float:
        """What a study may minimise: `parameters`, or `latency` in milliseconds an image (NaN if not measured)."""
        if name == "parameters":
            return float(self.n_parameters)
        return math.nan if self.latency_ms is None else self.latency_ms

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values)


@dataclass(frozen=True)
class Prediction:
    """What a calibration says of one measurement.

    predicted_test_score = train_score − predicted_test_gap, and its interval is the gap's, mirrored. `extrapolation` is
    true where a feature lies outside what the calibration was fitted on.
    """

    predicted_test_gap: float
    predicted_test_gap_interval: Interval
    predicted_test_score: float
    predicted_test_score_interval: Interval
    extrapolation: bool = False


@dataclass(frozen=True)
class Failure:
    """Why a trial failed: the exception's class name, its message, and the end of its traceback."""

    kind: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True)
class TrialRecord:
    """One trial as a program, a table or a ranking sees it: its last measurement and the latest prediction of it.

    Attributes:
        number: Optuna's trial number.
        params: What Optuna suggested.
        attempts: How often the trial was started; more than 1 after a worker died or a run was interrupted.
        epochs: Epochs trained.
        is_calibration: Whether the trial held out a part of the labelled data to measure its gap.
        retrains: The trial whose candidate this one trains again, on all labelled data and to the end.
        measurement: The last measured epoch, None if there is none.
        prediction: By the study's latest calibrator, None if there is none yet.
        audit_test_score: Score on the audit split, measured after all decisions; None where not audited.
        failure: Why the trial failed; None unless state is "FAIL".
        model: The architecture in short.
        seconds: Time spent training and measuring.
        retries: The failed trial whose candidate this one tries again, because a user asked for it.
    """

    number: int
    state: TrialState
    params: dict[str, Any]
    attempts: int = 0
    epochs: int = 0
    is_calibration: bool = False
    measurement: EpochMeasurement | None = None
    prediction: Prediction | None = None
    audit_test_score: float | None = None
    failure: str | None = None
    model: str = ""
    seconds: float = 0.0
    retrains: int | None = None
    retries: int | None = None

    @property
    def is_repetition(self) -> bool:
        """Whether its candidate was another trial's before: then it does not count among `study.trials`."""
        return self.retrains is not None or self.retries is not None

    def to_json(self) -> dict[str, Any]:
        """The trial's object in `--json` output. Programs rely on these names: add to them, never rename."""
        measured, predicted = self.measurement, self.prediction

        def read(name: str) -> float | None:
            return _finite(getattr(measured, name)) if measured else None

        return {
            "number": self.number,
            "state": self.state,
            "params": self.params,
            "model": self.model,
            "attempts": self.attempts,
            "epochs": self.epochs,
            "is_calibration": self.is_calibration,
            "retrains": self.retrains,
            "retries": self.retries,
            "n_parameters": measured and measured.n_parameters,
            "latency_ms": read("latency_ms"),
            "train_score": read("train_score"),
            "train_loss": read("train_loss"),
            "relative_gap_flatness": read("relative_gap_flatness"),
            "flatness_standard_error": read("flatness_standard_error"),
            "hessian_trace": read("hessian_trace"),
            "layer": measured and measured.layer,
            "exactness": measured and measured.exactness,
            "holdout_score": read("holdout_score"),
            "predicted_test_gap": predicted and _finite(predicted.predicted_test_gap),
            "predicted_test_gap_interval": predicted and [_finite(x) for x in predicted.predicted_test_gap_interval],
            "predicted_test_score": predicted and _finite(predicted.predicted_test_score),
            "predicted_test_score_interval": predicted
            and [_finite(x) for x in predicted.predicted_test_score_interval],
            "extrapolation": predicted and predicted.extrapolation,
            "audit_test_score": _finite(self.audit_test_score),
            "failure": self.failure,
            "seconds": round(self.seconds, 3),
        }


def _finite(value: float | None) -> float | None:
    """JSON knows no NaN and no infinity: both become null."""
    return None if value is None or not math.isfinite(value) else value
