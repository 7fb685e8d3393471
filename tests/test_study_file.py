"""Study files: what is accepted, what is refused, and what the refusal says."""

import json
import re
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatselect.config import StudyConfig, TrainingSection
from flatselect.errors import ConfigError
from flatselect.search_space import make_candidate, suggest
from flatselect.study_file import load_study_file

MINIMAL = '[study]\nname = "s"\n[data]\ntrain = "digits"\n'
STUDIES = sorted(Path(__file__).parents[1].glob("studies/*.toml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


def test_defaults_are_filled_in_beside_the_file(tmp_path: Path) -> None:
    config = load_study_file(write(tmp_path, MINIMAL))
    assert config.study.storage == f"sqlite:///{tmp_path}/s.db"
    assert config.study.checkpoints == f"{tmp_path}/s-checkpoints"
    assert config.training == TrainingSection()


def test_paths_of_the_file_and_of_overrides_have_their_own_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = write(tmp_path, MINIMAL.replace('"digits"', '"folder:images"\nroot = "sets"'))
    config = load_study_file(path, ["data.audit=folder:held", "study.storage=sqlite:///x.db"])
    assert config.data.train == f"folder:{tmp_path}/images"
    assert config.data.root == f"{tmp_path}/sets"
    assert config.data.audit == f"folder:{tmp_path}/elsewhere/held"
    assert config.study.storage == f"sqlite:///{tmp_path}/elsewhere/x.db"


def test_overrides_win_and_are_toml_or_text(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "[search_space]\nwidth = {type = 'int', low = 4, high = 8}\n")
    overrides = ["training.epochs=3", "training.optimizer=adam", "search_space.width.high=32", "data.mean=[0.5]"]
    config = load_study_file(path, [*overrides, "data.std=[0.25]", "search_space.depth=2"])
    assert (config.training.epochs, config.training.optimizer) == (3, "adam")
    assert config.search_space["width"].high == 32
    assert config.search_space["depth"] == 2
    assert config.data.mean == [0.5]


# Each mistake: what is written, then what the message must name (key, value, what is allowed).
MISTAKES = [
    ("[study]\nnam = 's'\n[data]\ntrain = 'digits'", ["study.nam ", "did you mean 'name'", "study.name", "missing"]),
    ("[study]\nname = 'a b'\n[data]\ntrain = 'digits'", ["study.name = 'a b'", "letters, digits"]),
    (MINIMAL.replace('"s"', '"s"\ntrials = 0'), ["study.trials = 0", "greater than 0"]),
    (MINIMAL.replace('"s"', '"s"\ntrials = "ten"'), ["study.trials = 'ten'", "integer"]),
    (MINIMAL.replace('"s"', '"s"\nsampler = "tpee"'), ["study.sampler = 'tpee'", "'tpe', 'random', 'gp' or 'nsga2'"]),
    (MINIMAL.replace('"s"', '"s"\ntimeout = -1'), ["study.timeout = -1"]),
    ("[study]\nname = 's'", ["data", "missing"]),
    (MINIMAL + "size = 2.5", ["data.size = 2.5", "integer"]),
    (MINIMAL + "augmentation = 'rotate'", ["data.augmentation = 'rotate'", "'flip'"]),
    (MINIMAL + "mean = [0.5]", ["data.mean", "go together"]),
    (MINIMAL + "[trainin]\nepochs = 3", ["trainin ", "did you mean 'training'"]),
    (MINIMAL + "[training]\nlearning_rate = nan", ["training.learning_rate = nan", "finite"]),
    (
        MINIMAL + "[training]\nflatness_penalty = -0.1",
        ["training.flatness_penalty = -0.1", "equal to 0"],
    ),
    (
        MINIMAL + "[search_space]\nflatness_penalty = {type = 'float', low = 0, high = 1, log = true}",
        ["search_space.flatness_penalty", "low > 0"],
    ),
    (MINIMAL + "[training]\nepochs = true", ["training.epochs = True", "integer"]),
    (MINIMAL + "[model]\nargs = {widht = 3}", ["model.args.widht = 3", "did you mean 'width'"]),
    (MINIMAL + "[search_space]\nwidth = {type = 'int', low = 9, high = 3}", ["search_space.width", "above high"]),
    (MINIMAL + "[search_space]\nwidth = {low = 9, high = 3}", ["search_space.width", 'type = "float"']),
    (MINIMAL + "[search_space]\nwidth = {type = 'int', low = 9}", ["search_space.width.high", "missing"]),
    (
        MINIMAL + "[search_space]\nweight_decay = {type = 'float', low = 0, high = 1, log = true}",
        ["search_space.weight_decay", "low > 0"],
    ),
    (MINIMAL + "[search_space]\nblock = {type = 'categorical', choices = ['plane']}", ["'plane'", "'plain'"]),
    (MINIMAL + "[search_space]\nblock = {type = 'categorical', choices = []}", ["search_space.block.choices", "1"]),
    (MINIMAL + "[search_space]\nwidht = 8", ["search_space.widht = 8", "did you mean 'width'"]),
    (
        MINIMAL + "[search_space]\nmomentum = {type = 'float', low = 0.1, high = 0.9, when = {optimiser = 'sgd'}}",
        ["search_space.momentum.when.optimiser", "not a parameter"],
    ),
    (MINIMAL + "[training]\nepochs = 3\n[search_space]\nepochs = 4", ["search_space.epochs", "[training]"]),
    (MINIMAL + "[calibration]\ntrials = 2", ["calibration.trials = 2", "at least 4"]),
    (MINIMAL.replace('"s"', '"s"\ntrials = 3'), ["study.trials = 3", "at least 4", "calibration.artifact"]),
    (MINIMAL.replace('"digits"', '"fashon_mnist"'), ["data.train = 'fashon_mnist'", "did you mean FashionMNIST?"]),
    (MINIMAL + "audit = 'xyz'", ["data.audit = 'xyz'", "expected digits, FashionMNIST"]),
    (MINIMAL + "[model]\nname = 'resnet18'", ["model.name = 'resnet18'", "torchvision:NAME"]),
    (
        MINIMAL + "[search_space.model]\ntype = 'categorical'\nchoices = ['cnn', 'resnet18']",
        ["search_space.model = 'resnet18'", "torchvision:NAME"],
    ),
    (MINIMAL + "[search_space]\ndropout = nan", ["search_space.dropout = nan", "finite number"]),
    (MINIMAL + "[pruner]\nname = 'median'\nmargin = 0.1", ["pruner.margin = 0.1", 'pruner.name = "flatness" only']),
    (MINIMAL + "[calibration]\nholdout = 1.0", ["calibration.holdout = 1.0", "less than 1"]),
    (MINIMAL + "[ray]\nbackend = 'inline'\nworkers = 2", ["ray.workers = 2", "one worker"]),
    (MINIMAL.replace('"digits"', '"folder:a"\naudit = "folder:a"'), ["data.audit", "training set itself"]),
    (MINIMAL + 'audit = "digits"\nunlabeled = "digits"', ["data.unlabeled", "an audit sees what nothing else has"]),
]


@pytest.mark.parametrize(("text", "named"), MISTAKES)
def test_a_mistake_is_named_with_file_key_and_value(tmp_path: Path, text: str, named: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_study_file(path)
    message = str(caught.value)
    assert str(path) in message
    for part in named:
        assert part in message
    assert "pydantic" not in message


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "size = -1\n[training]\nepochs = 0\nbatch_size = 'all'\n[foo]\n")
    with pytest.raises(ConfigError, match="4 mistakes"):
        load_study_file(path)


def test_mistakes_of_one_key_do_not_hide_those_of_several(tmp_path: Path) -> None:
    """What pydantic says of single keys, and what only the whole search space shows, stand in one message."""
    text = "[study]\nname = ''\ntrails = 3\n[search_space]\n" + (
        'width = { type = "int", low = 20, high = 5 }\nblok = "plain"\ndepth = { type = "integer" }\n'
        'momentum = { type = "float", low = 0.1, high = 0.9, when = { optimiser = "sgd" } }\n[training]\nepochs = 0\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_study_file(write(tmp_path, text))
    message = str(caught.value)
    assert "8 mistakes" in message
    for key in ("study.name", "study.trails", "data:", "search_space.width", "search_space.blok", "search_space.depth"):
        assert f"  {key}" in message
    assert "did you mean 'block'?" in message
    assert "search_space.momentum.when.optimiser" in message
    assert "training.epochs = 0" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[study\n", "not valid TOML"), (b"\xff\xfe", "not UTF-8"), (None, "no such study file")],
)
def test_unreadable_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_study_file(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_study_file(tmp_path)


@pytest.mark.parametrize("override", ["epochs=3", "training.epochs", "=3", "training..epochs=3", "study.name.x=3"])
def test_malformed_overrides(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(override)):
        load_study_file(write(tmp_path, MINIMAL), [override])


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_studies_load_and_suggest(path: Path) -> None:
    config = load_study_file(path)
    assert config.study.name == path.stem
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(10):
        trial = study.ask()
        candidate = suggest(trial, config)
        assert candidate == make_candidate(config, trial.params)
        assert candidate.describe()


def test_a_study_survives_json_but_for_its_storage() -> None:
    for path in STUDIES:
        config = load_study_file(path)
        read_back = StudyConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        assert read_back.study.storage is None
        study = read_back.study.model_copy(update={"storage": config.study.storage})
        assert read_back.model_copy(update={"study": study}) == config


CONDITIONAL = """
[search_space]
momentum = {type = "float", low = 0.5, high = 0.9, when = {optimizer = "sgd"}}
optimizer = {type = "categorical", choices = ["sgd", "adam", "adamw"]}
nesterov = {type = "categorical", choices = [true, false], when = {optimizer = ["sgd"]}}
width = 12
"""


@given(seed=st.integers(0, 50))
def test_conditions_decide_what_is_suggested(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    config = load_study_file(write(tmp_path_factory.mktemp("study"), MINIMAL + CONDITIONAL))
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    candidate = suggest(trial, config)
    assert ("momentum" in trial.params) == (trial.params["optimizer"] == "sgd") == ("nesterov" in trial.params)
    assert candidate.model_args == {"width": 12}
    assert candidate.training.momentum == trial.params.get("momentum", 0.9)


def test_the_flatness_penalty_may_be_searched_on_a_log_scale(tmp_path: Path) -> None:
    ranges = """
[search_space]
flatness_penalty = {type = "float", low = 1e-4, high = 1.0, log = true, when = {flatness_penalty_images = 16}}
flatness_penalty_images = {type = "categorical", choices = [8, 16]}
"""
    config = load_study_file(write(tmp_path, MINIMAL + ranges))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    candidates = [suggest(study.ask(), config).training for _ in range(40)]
    strengths = [training.flatness_penalty for training in candidates if training.flatness_penalty_images == 16]
    assert sum(strength < 1e-2 for strength in strengths) > len(strengths) / 4
    assert all(1e-4 <= strength <= 1 for strength in strengths)
    assert {training.flatness_penalty for training in candidates if training.flatness_penalty_images == 8} == {0.0}


def test_conditions_in_a_circle_are_refused(tmp_path: Path) -> None:
    text = """
[search_space]
width = {type = "int", low = 1, high = 2, when = {depth = 1}}
depth = {type = "int", low = 1, high = 2, when = {width = 1}}
"""
    with pytest.raises(ConfigError, match="wait for each other"):
        load_study_file(write(tmp_path, MINIMAL + text))
