"""Which trials come into an average: by hand, and in real searches."""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from flatselect.config import StudyConfig
from flatselect.data.loading import load_training_set
from flatselect.errors import CheckpointError, NonFiniteError, SearchError, StoreError
from flatselect.exporting.loading import load
from flatselect.exporting.model_files import write_model
from flatselect.exporting.trial_model import average_trial_models, read_trial_model
from flatselect.records import EpochMeasurement, Prediction
from flatselect.search.greedy_average import Assessed, TriedTrial, WeightAverage, average_greedily
from flatselect.search.result import SearchResult
from flatselect.search.run import run_search
from flatselect.search.study_images import reload_images
from flatselect.search.weight_average import average_weights
from flatselect.store.engine import make_engine
from flatselect.store.study_reader import StudyReader, find_study
from flatselect.store.study_writer import StudyWriter
from flatselect.study_file import load_study_file
from flatselect.training.checkpoint import load_checkpoint, save_checkpoint

FIXED = ("search_space.width=4", "search_space.block='plain'", "pruner.warmup_epochs=3")


class StubAssessor:
    """Knows the score of every set of trials; a trial's weights are its number."""

    def __init__(self, scores: dict[tuple[int, ...], float | None], reestimated: float = 0.0) -> None:
        self.scores = scores
        self.reestimated = reestimated

    def assess(self, weights: Any) -> Assessed:
        return self._make((weights["w"],))

    def assess_average(self, ingredients: Sequence[Any]) -> Assessed:
        trials = tuple(weights["w"] for weights in ingredients)
        return self._make(trials, self.reestimated if len(trials) == 1 else None)

    def _make(self, trials: tuple[int, ...], score: float | None = None) -> Assessed:
        score = self.scores[trials] if score is None else score
        if score is None:
            raise NonFiniteError("the loss is nan")
        measurement = EpochMeasurement(1, 0.9, 0.1, 10, 10)
        return Assessed({"w": trials}, measurement, Prediction(0.9 - score, (0.0, 0.1), score, (0.0, 1.0)))


def average_by_hand(
    scores: dict[tuple[int, ...], float | None], trials: list[int], reestimated: float = 0.0, missing: int = -1
) -> tuple[WeightAverage, list[TriedTrial]]:
    shown: list[TriedTrial] = []

    def load_weights(number: int) -> dict[str, Any]:
        if number == missing:
            raise CheckpointError(f"{number}.pt: no such checkpoint")
        return {"w": number}

    assessor: Any = StubAssessor(scores, reestimated)
    return average_greedily(assessor, trials, load_weights, shown.append), shown


def test_each_is_kept_that_raises_the_predicted_score() -> None:
    scores = {(3,): 0.5, (3, 1): 0.6, (3, 1, 4): 0.55, (3, 1, 2): 0.7}
    average, shown = average_by_hand(scores, [3, 1, 4, 2])
    assert average.trials == [3, 1, 2]
    assert average.result.weights == {"w": (3, 1, 2)}
    assert [tried.kept for tried in shown] == [True, True, False, True]
    assert [tried.prediction.predicted_test_score for tried in shown] == [0.5, 0.6, 0.55, 0.7]
    assert tuple(shown) == average.tried
    assert average.to_json()["predicted_test_score"] == 0.7


def test_a_score_that_is_the_same_is_not_higher() -> None:
    average, _ = average_by_hand({(3,): 0.5, (3, 1): 0.5}, [3, 1])
    assert average.trials == [3]


def test_what_the_batch_norms_do_alone_is_not_the_averages_merit() -> None:
    average, shown = average_by_hand({(3,): 0.5, (3, 1): 0.7, (3, 2): 0.9}, [3, 1, 2], reestimated=0.8)
    assert average.trials == [3, 2]
    assert shown[0].reestimated.predicted_test_score == 0.8
    assert average_by_hand({(3,): 0.5, (3, 1): 0.7}, [3, 1], reestimated=0.8)[0].result.weights == {"w": (3,)}


def test_what_cannot_be_read_or_is_not_finite_is_skipped() -> None:
    average, shown = average_by_hand({(3,): 0.5, (3, 2): None, (3, 4): 0.6}, [3, 1, 2, 4], missing=1)
    assert average.trials == [3, 4]
    assert [tried.skipped for tried in shown] == [None, "1.pt: no such checkpoint", "the loss is nan", None]
    with pytest.raises(CheckpointError):
        average_by_hand({}, [1, 2], missing=1)


@pytest.fixture(scope="module")
def independent(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> tuple[StudyConfig, SearchResult]:
    """A search over how one architecture is trained, each trial from a start of its own."""
    path = tmp_path_factory.mktemp("independent") / "tiny.toml"
    path.write_text(tiny_text.replace('audit = "digits"\n', "").replace("audit_size = 100\n", ""))
    extras = ("data.unlabeled='digits'", "data.unlabeled_size=60", "measure.extras=['noise']", "study.trials=6")
    config = load_study_file(path, [*FIXED, *extras])
    return config, run_search(config)


@pytest.fixture
def reader(independent: tuple[StudyConfig, SearchResult]) -> StudyReader:
    return find_study(make_engine(str(independent[0].study.storage)), "tiny")


@pytest.fixture
def copied(independent: tuple[StudyConfig, SearchResult], tmp_path: Path) -> tuple[StudyReader, StudyWriter]:
    """The same study in a database that may be changed."""
    source = str(independent[0].study.storage).removeprefix("sqlite:///")
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(tmp_path / "copy.db")) as other:
        one.backup(other)
    engine = make_engine(f"sqlite:///{tmp_path / 'copy.db'}")
    found = find_study(engine, "tiny")
    return found, StudyWriter(engine, found.study_uid)


def test_networks_from_different_starts_are_left_alone(
    independent: tuple[StudyConfig, SearchResult],
    reader: StudyReader,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse_audits(self: StudyReader) -> dict[int, float]:
        raise AssertionError("an audit was read")

    monkeypatch.setattr(StudyReader, "audits", refuse_audits)
    # Of full training, so that what a search predicted of it can be compared.
    number = next(n for n in independent[1].ranking if n >= 4)
    shown: list[TriedTrial] = []
    average = write_average(reader, number, 6, tmp_path / "average.pt", shown.append)
    write_model(read_trial_model(reader, number), tmp_path / "alone.pt")
    assert average.trials == [number]
    assert len(shown) == 6
    assert {tried.trial for tried in shown} == set(independent[1].ranking)
    alone, other = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("alone", "average"))
    assert alone["state_dict"].keys() == other["state_dict"].keys()
    assert all(torch.equal(value, other["state_dict"][name]) for name, value in alone["state_dict"].items())
    provenance = load(tmp_path / "average.pt").provenance
    assert provenance.pop("average") == average.to_json()
    assert provenance == load(tmp_path / "alone.pt").provenance
    # Measured and predicted as in the search: the same probe, unlabelled images, extras and calibrator.
    searched = independent[1].trials[number]
    assert average.result.measurement.companions == pytest.approx(searched.measurement.companions)
    assert shown[0].prediction.predicted_test_score == pytest.approx(searched.prediction.predicted_test_score)
    assert average.to_json()["predicted_test_score"] == pytest.approx(searched.prediction.predicted_test_score)
    assert average.to_json()["train_score"] == searched.measurement.train_score


def write_average(
    reader: StudyReader,
    trial: int | None,
    n_best: int,
    path: Path,
    show: Callable[[TriedTrial], None] = lambda tried: None,
) -> WeightAverage:
    model = average_trial_models(reader, trial, n_best, show)
    write_model(model, path)
    assert model.average is not None
    return model.average


def disturb(reader: StudyReader, writer: StudyWriter, number: int, folder: Path) -> dict[int, dict[str, torch.Tensor]]:
    """Makes every trial's weights those of one with noise of their own."""
    weights = load_checkpoint(reader.checkpoint(number).path)["model"]
    disturbed = {}
    for trial in reader.checkpoints():
        generator = torch.Generator().manual_seed(trial)
        disturbed[trial] = {
            name: value + 0.3 * value.std() * torch.randn(value.shape, generator=generator)
            if value.dim() > 1
            else value
            for name, value in weights.items()
        }
        file = save_checkpoint(folder / f"{trial}.pt", {"model": disturbed[trial]}, 3)
        writer.set_checkpoint(trial, file.epoch, file.path, file.sha256, file.size)
    return disturbed


def test_disturbances_of_one_network_average_out(
    independent: tuple[StudyConfig, SearchResult], copied: tuple[StudyReader, StudyWriter], tmp_path: Path
) -> None:
    reader, writer = copied
    trained = max(independent[1].trials, key=lambda trial: trial.measurement.train_score)
    disturbed = disturb(reader, writer, trained.number, tmp_path)
    Path(reader.checkpoint(independent[1].ranking[3]).path).unlink()
    average = write_average(reader, None, 5, tmp_path / "average.pt")
    first, *others = average.trials
    assert first == independent[1].ranking[0]
    assert others
    assert [tried.trial for tried in average.tried] == independent[1].ranking[:5]
    assert "no such checkpoint" in average.tried[3].skipped
    alone, reestimated = average.tried[0].prediction, average.tried[0].reestimated
    assert average.result.prediction.predicted_test_score > alone.predicted_test_score
    assert average.result.prediction.predicted_test_score > reestimated.predicted_test_score
    model = load(tmp_path / "average.pt")
    assert model.provenance["average"]["trials"] == average.trials
    expected = average_weights([disturbed[number] for number in average.trials])
    for name, value in model.state_dict().items():
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            assert torch.equal(value, expected[name]), name
    # What is said of the file is so of the network in the file.
    images, labels = next(iter(load_training_set(independent[0].data, independent[0].study.seed).batches(999, "cpu")))
    with torch.no_grad():
        score = (model(images).argmax(1) == labels).double().mean().item()
    assert model.provenance["average"]["train_score"] == pytest.approx(score)


def test_a_network_is_not_averaged_with_itself(
    copied: tuple[StudyReader, StudyWriter], independent: tuple[StudyConfig, SearchResult], tmp_path: Path
) -> None:
    reader, writer = copied
    best = reader.checkpoint(independent[1].ranking[0])
    for trial in reader.checkpoints():
        writer.set_checkpoint(trial, best.epoch, best.path, best.sha256, best.size)
    average = write_average(reader, None, 3, tmp_path / "average.pt")
    assert average.trials == independent[1].ranking[:1]
    scores = {tried.prediction.predicted_test_score for tried in average.tried[1:]}
    assert scores == {average.tried[0].reestimated.predicted_test_score}


def test_changed_checkpoints_are_skipped(copied: tuple[StudyReader, StudyWriter], tmp_path: Path) -> None:
    reader, writer = copied
    first, second, *_ = (trial for trial in reader.checkpoints())
    file = reader.checkpoint(second)
    shutil.copy(reader.checkpoint(first).path, tmp_path / "other.pt")
    writer.set_checkpoint(second, file.epoch, str(tmp_path / "other.pt"), file.sha256, file.size)
    average = write_average(reader, first, 6, tmp_path / "average.pt")
    assert "SHA-256" in next(tried.skipped for tried in average.tried if tried.trial == second)
    with pytest.raises(CheckpointError, match="SHA-256"):
        write_average(reader, second, 6, tmp_path / "average.pt")


def test_other_images_are_refused(independent: tuple[StudyConfig, SearchResult], reader: StudyReader) -> None:
    config, data = independent[0], reader.data()
    assert reload_images(config, data).train.fingerprint == data["fingerprint"]
    with pytest.raises(SearchError, match=r"expected 150 images of digits .* 0000"):
        reload_images(config, data | {"fingerprint": "0" * 64})


def test_other_architectures_are_named(undisturbed: tuple[StudyConfig, SearchResult], tmp_path: Path) -> None:
    reader = find_study(make_engine(str(undisturbed[0].study.storage)), "tiny")
    ranking, trials = undisturbed[1].ranking, undisturbed[1].trials
    networks = [(trials[number].params["block"], trials[number].params["width"]) for number in ranking]
    # One that no other has, and as many of the best as there are beside or before it.
    place = next(i for i, network in enumerate(networks) if networks.count(network) == 1)
    n_best = max(2, place)
    with pytest.raises(SearchError) as caught:
        write_average(reader, ranking[place], n_best, tmp_path / "average.pt")
    for number in {ranking[place], *ranking[:n_best]}:
        params = trials[number].params
        assert f"trial {number}: cnn block={params['block']!r} width={params['width']}" in str(caught.value)
    with pytest.raises(SearchError, match="no other of the 1 best"):
        write_average(reader, None, 1, tmp_path / "average.pt")
    with pytest.raises(StoreError, match="no trial 99"):
        write_average(reader, 99, 2, tmp_path / "average.pt")
    assert not (tmp_path / "average.pt").exists()


def test_without_a_calibrator_nothing_is_predicted(make_study: Callable[..., StudyConfig], tmp_path: Path) -> None:
    class Stop:
        def show(self, status: Any) -> None:
            if status.n_epochs_run >= 8:
                raise KeyboardInterrupt

        def say(self, message: str) -> None:
            pass

    config = make_study(*FIXED)
    with pytest.raises(KeyboardInterrupt):
        run_search(config, Stop())
    reader = find_study(make_engine(str(config.study.storage)), "tiny")
    with pytest.raises(SearchError, match="no calibrator yet"):
        write_average(reader, None, 2, tmp_path / "average.pt")
