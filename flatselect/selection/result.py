"""A ranking of networks that are trained already, and how it is made of what was measured."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flatselect.ranking.candidates import Candidate, RankedCandidate, rank_candidates
from flatselect.ranking.uncalibrated import Yardstick, find_yardstick
from flatselect.selection.agreement import add_agreement
from flatselect.selection.calibrator import Calibrator
from flatselect.selection.measuring import MeasuredNetwork


@dataclass(frozen=True)
class Ranking:
    """Networks in their order.

    Attributes:
        candidates: Best first; those that could not be measured, or are another's copy, come last, without a rank.
        predicted_by: The calibrator; None where nothing is predicted.
    """

    candidates: tuple[RankedCandidate, ...]
    predicted_by: Calibrator | None

    @property
    def calibrator(self) -> dict[str, Any] | None:
        """What is known of the calibrator; None where nothing is predicted. See `Calibrator.describe`."""
        return None if self.predicted_by is None else self.predicted_by.describe()

    @property
    def yardstick(self) -> Yardstick | None:
        """What the ranked are ordered by where nothing is predicted; None where something is."""
        if self.predicted_by is not None:
            return None
        return find_yardstick([c.measurement for c in self.ranked if c.measurement is not None])

    @property
    def ranked(self) -> tuple[RankedCandidate, ...]:
        """Those that have a rank."""
        return tuple(candidate for candidate in self.candidates if candidate.rank is not None)

    @property
    def broken(self) -> tuple[RankedCandidate, ...]:
        """Those that could not be measured, or are another's copy."""
        return tuple(candidate for candidate in self.candidates if candidate.rank is None)

    def to_json(self) -> dict[str, Any]:
        """The object that `flatselect rank --json` prints: "calibrator" and "checkpoints", best first."""
        return {"calibrator": self.calibrator, "checkpoints": [candidate.to_json() for candidate in self.candidates]}


def rank_measured(
    networks: Sequence[tuple[str, MeasuredNetwork | str]],
    calibrator: Calibrator | None,
    measure_pixels: Callable[[], Mapping[str, float]],
    own_groups: Mapping[str, str] | None = None,
) -> Ranking:
    """Ranks what was measured. Of files that hold the same network, the first is ranked, and the others say so.

    A copy would agree with itself on unlabelled images, and take half of the other's chance to be the best.

    Args:
        networks: By path or name: what was measured, or why nothing could be.
        calibrator: Predicts; None: see `order_uncalibrated`.
        measure_pixels: `measure_training_pixels` of the training set: companions of every network, for a calibrator
            that reads them.
        own_groups: By path or name, the group of the calibrator's rows that were measured on this very network.
    """
    originals = _find_originals(networks)
    groups = {originals.get(path, path): group for path, group in (own_groups or {}).items()}
    networks = [
        (path, network if path not in originals else f"the same network as {originals[path]}, which is ranked")
        for path, network in networks
    ]
    measured = [network for _, network in networks if not isinstance(network, str)]
    of_pixels = dict(measure_pixels()) if measured and calibrator is not None and calibrator.reads_pixels else {}
    measurements = iter(
        replace(measurement, companions=measurement.companions | of_pixels) for measurement in add_agreement(measured)
    )
    candidates = [
        Candidate(path, error=network)
        if isinstance(network, str)
        else Candidate(path, next(measurements), group=groups.get(path))
        for path, network in networks
    ]
    if calibrator is not None:
        calibrator = calibrator.adapt([c.measurement for c in candidates if c.measurement is not None])
    predictor = None if calibrator is None else calibrator.predictor
    return Ranking(tuple(rank_candidates(candidates, predictor)), calibrator)


def _find_originals(networks: Sequence[tuple[str, MeasuredNetwork | str]]) -> dict[str, str]:
    """By path, the first network of which it is a copy; only of copies.

    What a file holds beside the weights, or its format, may differ: networks are the same that are so in all that was
    measured, to the last digit.
    """
    first: dict[tuple[str, bytes | None], str] = {}
    originals = {}
    for path, network in networks:
        if isinstance(network, str):
            continue
        classes = network.unlabeled_classes
        values = replace(network.measurement, train_seconds=0.0, measure_seconds=0.0).to_dict()
        shown = (json.dumps(values, sort_keys=True), None if classes is None else classes.tobytes())
        if (original := first.setdefault(shown, path)) != path:
            originals[path] = original
    return originals
