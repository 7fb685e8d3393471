"""A process that decodes images is killed in the middle of an epoch: the machine's fault, not the candidate's."""

from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from searching import Listener, MakeStudy, assert_same_weights, check_books, comparable, open_reader
from sklearn.datasets import load_digits

from flatselect.search.run import run_search

FOLDER = """
[study]
name = "tiny"
trials = 5
seed = 3
max_failures_in_row = 2
[data]
train = "folder:images"
loader_workers = 1
[search_space]
width = { type = "int", low = 3, high = 8 }
[model]
name = "faulty_nets:small"
args = { fault = "loader", after = 9 }
[training]
epochs = 2
batch_size = 6
[measure]
probe = 20
[calibration]
trials = 4
holdout = 0.3
[ray]
backend = "inline"
max_failures = 1
"""


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Holds 60 images of three digits, the working folder of the search."""
    monkeypatch.chdir(tmp_path)
    pixels, labels = load_digits(n_class=3, return_X_y=True)
    for number, (image, label) in enumerate(zip(pixels[:60], labels[:60], strict=True)):
        path = tmp_path / "study" / "images" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image.reshape(8, 8) * 15).astype("uint8")).save(path)


def test_a_killed_loader_costs_an_attempt_and_nothing_else(make_study: MakeStudy) -> None:
    expected = run_search(make_study("study.storage=sqlite:///undisturbed.db", text=FOLDER))
    Path("broken").touch()
    config = make_study("study.checkpoints=disturbed", text=FOLDER)
    listener = Listener()
    result = run_search(config, listener)
    assert not Path("broken").exists(), "no loader was killed"
    assert any("data loader lost" in message for message in listener.messages)
    assert any("taken up after epoch 1" in message for message in listener.messages)
    assert comparable(result, "attempts") == comparable(expected, "attempts")
    with (
        closing(open_reader(str(config.study.storage))) as reader,
        closing(open_reader("sqlite:///undisturbed.db")) as other,
    ):
        check_books(reader)
        assert_same_weights(reader, other)
        lost = [attempt for attempt in reader.attempts() if attempt.outcome == "lost"]
    assert len(lost) == 1
    assert lost[0].failure is not None
    assert lost[0].failure.kind == "LoaderLost"
    assert "data.loader_workers" in lost[0].failure.message


def test_loaders_that_die_again_and_again_fail_the_trial(make_study: MakeStudy) -> None:
    Path("broken").touch()
    text = FOLDER.replace('fault = "loader", after = 9', 'fault = "loaders", after = 3')
    config = make_study(text=text)
    result = run_search(config)
    assert [trial.state for trial in result.trials] == ["FAIL", "FAIL"]
    assert result.stopped_because is not None
    assert "2 attempts were lost, the last one: DataLoader worker (pid" in result.stopped_because
    assert [trial.attempts for trial in result.trials] == [2, 2]
    with closing(open_reader(str(config.study.storage))) as reader:
        check_books(reader)
