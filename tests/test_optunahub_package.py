"""The OptunaHub package: it loads as the registry loads it, by itself, and what its files show runs."""

import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import optuna
import optunahub
import pytest
import yaml
from optuna.trial import TrialState

import flatselect.pruning

REGISTRY = Path(__file__).parents[1] / "optunahub"
PACKAGE = "pruners/flatness_pruner"
README = (REGISTRY / PACKAGE / "README.md").read_text(encoding="utf-8")


def load_package(name: str = PACKAGE) -> ModuleType:
    assert name == PACKAGE
    return optunahub.load_local_module(PACKAGE, registry_root=str(REGISTRY))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's `load_module`, from the folder here instead of the network."""
    monkeypatch.setattr(optunahub, "load_module", load_package)


def test_it_prunes_as_flatselect_does_and_imports_nothing_of_it() -> None:
    module = load_package()
    assert module.__all__ == ["FlatnessPruner"]
    assert module.FlatnessPruner is not flatselect.pruning.FlatnessPruner
    source = Path(sys.modules[module.FlatnessPruner.__module__].__file__ or "").read_text(encoding="utf-8")
    assert source == Path(flatselect.pruning.__file__).read_text(encoding="utf-8")
    assert not re.search(r"^\s*(from|import) flatselect", source, flags=re.MULTILINE)


def test_its_readme_begins_as_the_registry_wants() -> None:
    matter = yaml.safe_load(README.split("---\n")[1])
    assert matter.keys() == {"author", "title", "description", "tags", "optuna_versions", "license"}
    assert "pruner" in matter["tags"]
    assert matter["license"] == "MIT License"
    assert (REGISTRY / PACKAGE / "LICENSE").read_text().startswith("MIT License\n")
    headings = re.findall(r"^## (.*)$", README, flags=re.MULTILINE)
    assert headings == ["Abstract", "Class or Function Names", "Installation", "Example", "Others"]


def test_the_options_its_readme_lists_are_there() -> None:
    (listed,) = re.findall(r"`FlatnessPruner\(\*, (.*)\)`", README)
    assert load_package().FlatnessPruner(**eval(f"dict({listed})"))
    defaults = load_package().FlatnessPruner.__init__.__kwdefaults__
    assert listed == ", ".join(f"{name}={value!r}".replace("'", '"') for name, value in defaults.items())


@pytest.mark.usefixtures("registry")
def test_the_study_in_its_readme_runs_and_prunes() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    study = names["study"]
    assert isinstance(study, optuna.Study)
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    assert len(pruned) >= 10
    assert all(trial.user_attrs["flatselect:pruned_because"] for trial in pruned)


@pytest.mark.usefixtures("registry")
def test_its_example_runs_and_prunes(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(REGISTRY / PACKAGE / "example.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed.count(" PRUNED ") >= 10
    assert printed.count(" COMPLETE ") >= 8
    assert "as good in all other objectives" in printed
