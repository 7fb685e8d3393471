"""The average of several trials' weights: a greedy soup whose every step is predicted, not measured, to be better.

Greedy soups are Wortsman et al., *Model soups*, ICML 2022. Theirs keeps what raises a held-out score; here no image is
held out, and the predicted test score stands in its place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from flatselect.assessment import Probe, assess
from flatselect.calibration.gap_predictor import GapPredictor
from flatselect.config import StudyConfig
from flatselect.data.dataset import gather_images
from flatselect.errors import CheckpointError, NonFiniteError, SearchError
from flatselect.ranking import rank_trials
from flatselect.records import EpochMeasurement, Prediction, TrialRecord
from flatselect.search.protocol import SearchImages
from flatselect.search.weight_average import Weights, average_weights, reestimate_batch_norm
from flatselect.search_space import Candidate, make_candidate
from flatselect.training.building import build_candidate
from flatselect.training.seeding import derive_seed


class Assessed(NamedTuple):
    """Weights, what was measured of the network that has them, and what is predicted from that."""

    weights: Weights
    measurement: EpochMeasurement
    prediction: Prediction


@dataclass(frozen=True)
class TriedTrial:
    """One step of a greedy soup.

    Attributes:
        trial: The number of the trial whose weights were added to the average.
        prediction: Of the average with it; None where there was none to predict.
        kept: Whether it stayed in the average.
        skipped: Why its weights could not be used; None if they could.
        reestimated: Of the first trial alone, with its batch norms re-estimated as those of an average are; None of
            the others.
    """

    trial: int
    prediction: Prediction | None
    kept: bool
    skipped: str | None = None
    reestimated: Prediction | None = None


@dataclass(frozen=True)
class WeightAverage:
    """A greedy soup, and how it came about.

    Attributes:
        tried: In order; the first is the trial that it starts from, alone.
        result: The network of the trials that were kept. If only the first was, its own weights, untouched.
    """

    tried: tuple[TriedTrial, ...]
    result: Assessed

    @property
    def trials(self) -> list[int]:
        """Numbers of the trials in the average, in the order in which they were added."""
        return [tried.trial for tried in self.tried if tried.kept]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the provenance of an exported model."""
        prediction = self.result.prediction
        return {
            "trials": self.trials,
            "tried": [
                {
                    "trial": tried.trial,
                    "predicted_test_score": tried.prediction and tried.prediction.predicted_test_score,
                    "extrapolation": tried.prediction and tried.prediction.extrapolation,
                    "kept": tried.kept,
                    "skipped": tried.skipped,
                    "reestimated_predicted_test_score": tried.reestimated and tried.reestimated.predicted_test_score,
                }
                for tried in self.tried
            ],
            "train_score": self.result.measurement.train_score,
            "predicted_test_score": prediction.predicted_test_score,
            "predicted_test_score_interval": list(prediction.predicted_test_score_interval),
            "extrapolation": prediction.extrapolation,
        }


def find_ingredients(
    config: StudyConfig, trials: Sequence[TrialRecord], chosen: TrialRecord, n_best: int
) -> list[TrialRecord]:
    """Of the `n_best` first trials of the ranking, the others with the chosen one's architecture, best first.

    Raises:
        SearchError: There is none; the message names their architectures.
    """
    by_number = {trial.number: trial for trial in trials}
    others = [by_number[number] for number in rank_trials(trials)[:n_best] if number != chosen.number]
    wanted = _describe_architecture(config, chosen)
    ingredients = [trial for trial in others if _describe_architecture(config, trial) == wanted]
    if not ingredients:
        raise SearchError(
            f"no other of the {n_best} best trials has the architecture of trial {chosen.number}, and only weights of "
            "one architecture can be averaged\n"
            + "\n".join(f"  trial {t.number}: {_describe_architecture(config, t)}" for t in [chosen, *others])
            + "\ntake in more trials with a larger --average, or leave it out"
        )
    return ingredients


class AverageAssessor:
    """Measures weights as a search measures its trials, and predicts their test score with its calibrator.

    Every network here is measured on all training images and predicted by one calibrator, so that predictions compare.
    For a trial that held out a part, they are therefore not those of the ranking.
    """

    def __init__(
        self, config: StudyConfig, candidate: Candidate, images: SearchImages, predictor: GapPredictor, device: str
    ) -> None:
        self._config = config
        self._train_set = images.train
        self._predictor = predictor
        self._device = device
        # The same probe as of every trial that trains on all images.
        self._probe = Probe.draw(images.train, config.measure.probe, derive_seed(config.study.seed, "probe"), device)
        self._unlabeled = None if images.unlabeled is None else gather_images(images.unlabeled, device)[0]
        # As in training: another memory format may round otherwise.
        self._model = build_candidate(candidate, images.train, seed=0, device=device)

    def assess(self, weights: Weights) -> Assessed:
        """Assesses the network with these weights as they are.

        Raises:
            CheckpointError: They do not fit the network.
            NonFiniteError: Its loss, or one of its weights or activations, is NaN or infinite.
        """
        self._load(weights)
        return self._assess_model(weights)

    def assess_average(self, ingredients: Sequence[Weights]) -> Assessed:
        """Averages, re-estimates the batch norms and assesses; raises what `assess` and `average_weights` do."""
        self._load(average_weights(ingredients))
        seed = derive_seed(self._config.study.seed, "batch norm")
        reestimate_batch_norm(self._model, self._train_set, self._config.measure.batch_size, self._device, seed)
        weights = {
            name: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
            for name, value in self._model.state_dict().items()
        }
        return self._assess_model(weights)

    def _load(self, weights: Weights) -> None:
        try:
            self._model.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(f"the weights do not fit the network that the study builds: {error}") from error

    def _assess_model(self, weights: Weights) -> Assessed:
        options = self._config.measure
        measurement = assess(
            self._model,
            self._train_set,
            self._probe,
            extras=options.extras,
            unlabeled=self._unlabeled,
            layer=options.layer,
            batch_size=options.batch_size,
            device=self._device,
        )
        return Assessed(weights, measurement, self._predictor.predict(measurement))


def average_greedily(
    assessor: AverageAssessor,
    trials: Sequence[int],
    load_weights: Callable[[int], Weights],
    show: Callable[[TriedTrial], None],
) -> WeightAverage:
    """Adds to the first trial's weights those of others, each only if the average with it is predicted to score higher.

    The first average has to score higher than the first trial both as it is and with its batch norms re-estimated: else
    a trial whose running statistics lag behind would be averaged with anything, for what the re-estimation alone does.

    Args:
        assessor: Predicts.
        trials: Numbers: the one to start from, then the others in the order in which they are tried.
        load_weights: Reads a trial's weights. Others than the first are skipped where it raises CheckpointError or
            SearchError.
        show: Is called after each trial.

    Raises:
        SearchError: The first trial has no weights.
        CheckpointError: They cannot be used.
        NonFiniteError: They are not finite.
    """
    first, *others = trials
    kept = [load_weights(first)]
    best, reestimated = assessor.assess(kept[0]), assessor.assess_average(kept)
    to_beat = max(each.prediction.predicted_test_score for each in (best, reestimated))
    tried = [TriedTrial(first, best.prediction, kept=True, reestimated=reestimated.prediction)]
    show(tried[0])
    for number in others:
        try:
            weights = load_weights(number)
            average = assessor.assess_average([*kept, weights])
        except (CheckpointError, NonFiniteError, SearchError) as error:
            tried.append(TriedTrial(number, None, kept=False, skipped=str(error)))
        else:
            score = average.prediction.predicted_test_score
            is_better = score > to_beat
            tried.append(TriedTrial(number, average.prediction, kept=is_better))
            if is_better:
                kept, best, to_beat = [*kept, weights], average, score
        show(tried[-1])
    return WeightAverage(tuple(tried), best)


def _describe_architecture(config: StudyConfig, trial: TrialRecord) -> str:
    """Every argument of the network: the short description of a table leaves some out."""
    candidate = make_candidate(config, trial.params)
    return " ".join([candidate.model, *(f"{name}={value!r}" for name, value in sorted(candidate.model_args.items()))])
