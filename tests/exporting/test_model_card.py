"""The folder for the Hub: its card as huggingface_hub, a Markdown reader and a user read it."""

import dataclasses
import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from hostile_study import CLASS_NAMES, Searched
from markdown_it import MarkdownIt

import flatselect
from flatselect.errors import CheckpointError, ExportError
from flatselect.exporting.hub_folder import write_hub_folder
from flatselect.exporting.model_card import make_model_card
from flatselect.exporting.trial_model import TrialModel, read_trial_model
from flatselect.markdown import escape_markdown
from flatselect.records import Prediction
from flatselect.search.greedy_average import Assessed, TriedTrial, WeightAverage
from flatselect.store.study_reader import StudyReader

HOSTILE = [
    "---", "--- \nlicense: mit\n---\n", "<script>x</script>", "a|b", "`c`", "[a](b)", "![a](b)", "&lt;", "# d", "a\\|b",
    "**e**", "_f_", "~~g~~", "\x00\x1b[31mh", "- i", "1. j", "{{ k }}", "https://l.example", "\\", "w_2 _x", "$y$",
]  # fmt: skip


@pytest.fixture
def folder(best: TrialModel, reader: StudyReader, tmp_path: Path) -> Path:
    write_hub_folder(reader, best, tmp_path / "model")
    return tmp_path / "model"


def render(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def read_cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html, flags=re.DOTALL)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, flags=re.DOTALL) for row in rows]


def find_results(card: huggingface_hub.ModelCard) -> dict[tuple[str, str], Any]:
    return {(result.dataset_split, result.metric_type): result for result in card.data.eval_results}


def test_huggingface_reads_its_figures(folder: Path, best: TrialModel, reader: StudyReader) -> None:
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    trial = next(t for t in reader.trials(include_audits=True) if t.number == best.trial.number)
    assert card.data.library_name == "flatselect"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.license is None
    assert card.data.model_name == f"hostile, trial {trial.number}"
    results = find_results(card)
    assert set(results) == {("train", "accuracy"), ("unseen", "predicted_accuracy"), ("test", "accuracy")}
    assert results["train", "accuracy"].metric_value == trial.measurement.train_score
    predicted = results["unseen", "predicted_accuracy"]
    assert predicted.metric_value == trial.prediction.predicted_test_score
    assert predicted.metric_args["interval"] == list(trial.prediction.predicted_test_score_interval)
    assert predicted.metric_args["coverage"] == 0.5
    assert "PREDICTED" in predicted.metric_name
    assert results["test", "accuracy"].metric_value == trial.audit_test_score is not None
    assert predicted.dataset_revision == reader.data()["fingerprint"]
    # What huggingface_hub writes again is what is there.
    assert yaml.safe_load(card.data.to_yaml()) == huggingface_hub.metadata_load(folder / "README.md")


def test_its_figures_are_those_of_the_study(folder: Path, best: TrialModel, reader: StudyReader) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    rows = {cells[0]: cells[1:] for cells in read_cells(render(text.partition("\n---\n")[2])) if len(cells) == 3}
    trial, summary = best.trial, reader.latest_calibrator()[2]
    assert rows["training accuracy, on 120 images"] == [f"{trial.measurement.train_score:.4f}", "measured"]
    low, high = trial.prediction.predicted_test_score_interval
    expected = f"<strong>{trial.prediction.predicted_test_score:.4f}</strong> ({low:.4f} to {high:.4f})"
    assert rows["<strong>test accuracy to be expected</strong>"][0] == expected
    assert rows["<strong>test accuracy to be expected</strong>"][1] == "<strong>predicted</strong>, not measured"
    audit = rows["test accuracy on the audit images (folder:audit)"]
    assert audit[0] == f"{reader.audits()[trial.number]:.4f}"
    assert "never used for one" in audit[1]
    flatness = next(value for name, value in rows.items() if name.startswith("relative GAP flatness"))
    measured = trial.measurement
    error = f"{measured.flatness_standard_error:.4g} (standard error)"
    assert flatness[0] == f"{measured.relative_gap_flatness:.4g} ± {error}"
    assert rows["width"] == [str(trial.params["width"]), "searched"]
    assert rows["epochs"] == ["3", ""]
    flat = " ".join(text.split())
    assert f"mean absolute error of {summary['cross_validated']['mae']:.4f}" in flat
    assert f"and {summary['cross_validated']['coverage']:.0%} of the intervals held it" in flat
    assert ("**Extrapolation:**" in text) == trial.prediction.extrapolation


def test_its_code_runs(folder: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {name.strip() for name in CLASS_NAMES}


def test_the_folder_is_read_as_a_model(folder: Path, best: TrialModel) -> None:
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(flatselect.load(folder)(images), best.network(images))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["architecture"] == "cnn"
    assert config["label_names"] == best.data["class_names"]
    assert config["num_classes"] == 4
    assert config["input"]["mean"] == best.data["mean"]


def test_hostile_names_stay_names(folder: Path, searched: Searched) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    html = render(text.partition("\n---\n")[2])
    assert text.count("\n---\n") == 1
    assert "license" not in huggingface_hub.metadata_load(folder / "README.md")
    assert "<script" not in html
    assert "<b>" not in html
    for name in CLASS_NAMES:
        shown = " ".join(name.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert shown in html, name
    results = huggingface_hub.ModelCard.load(folder / "README.md").data.eval_results
    assert results[0].dataset_name == "folder:<b>train | images"


def test_it_says_nothing_of_the_machine(
    folder: Path, searched: Searched, best: TrialModel, reader: StudyReader
) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert str(searched.folder) not in text
    assert socket.gethostname() not in text
    data = best.data | {"name": f"folder:{searched.folder}/photos/"}
    content = best.content | {"provenance": best.content["provenance"] | {"data": data}}
    elsewhere = make_model_card(reader, dataclasses.replace(best, content=content))
    assert str(searched.folder) not in elsewhere
    assert "folder:photos" in elsewhere or "folder:\n" in elsewhere


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_a_name_as_it_is(text: str) -> None:
    seen = "".join(c for c in " ".join(text.split()) if c.isprintable())
    expected = seen.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    table = render(f"| a | b |\n|---|---|\n| {escape_markdown(text)} | 1 |\n")
    assert read_cells(table)[1:] == [[expected, "1"]]
    assert f"<p>Classes: {expected}, x</p>" in render(f"Classes: {escape_markdown(text)}, x")


def test_a_card_that_is_there_is_not_overwritten(folder: Path, best: TrialModel, reader: StudyReader) -> None:
    (folder / "README.md").write_text("edited")
    with pytest.raises(ExportError, match=r"README\.md is there already, and may have been edited"):
        write_hub_folder(reader, best, folder)
    assert (folder / "README.md").read_text() == "edited"


def test_a_folder_at_a_url_is_refused(best: TrialModel, reader: StudyReader) -> None:
    with pytest.raises(ExportError, match="a folder is written on this machine alone"):
        write_hub_folder(reader, best, "memory://models/one")


def test_a_calibration_trial_says_on_what_it_trained(reader: StudyReader) -> None:
    trial = next(t for t in reader.trials(include_audits=False) if t.is_calibration and t.state == "COMPLETE")
    text = make_model_card(reader, read_trial_model(reader, trial.number))
    assert f"On {trial.measurement.n_train_images} of the 120 labelled images" in text
    assert trial.measurement.n_train_images < 120
    assert "The other images were held out" in text


def test_of_an_average_no_trials_audit_is_told(best: TrialModel, reader: StudyReader) -> None:
    prediction = Prediction(0.125, (0.1, 0.2), 0.775, (0.7, 0.8))
    measurement = dataclasses.replace(best.trial.measurement, train_score=0.9)
    tried = [TriedTrial(number, prediction, kept=True) for number in (best.trial.number, 1)]
    average = WeightAverage(tuple(tried), Assessed(best.content["state_dict"], measurement, prediction))
    card = huggingface_hub.ModelCard(make_model_card(reader, dataclasses.replace(best, average=average)))
    assert f"the average of those of trials {best.trial.number}, 1. The figures are of the average." in card.text
    results = find_results(card)
    assert set(results) == {("train", "accuracy"), ("unseen", "predicted_accuracy")}
    assert results["train", "accuracy"].metric_value == 0.9
    assert results["unseen", "predicted_accuracy"].metric_value == 0.775
    alone = dataclasses.replace(best, average=WeightAverage(tuple(tried[:1]), average.result))
    assert ("test", "accuracy") in find_results(huggingface_hub.ModelCard(make_model_card(reader, alone)))


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_said(best: TrialModel, reader: StudyReader, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        write_hub_folder(reader, best, tmp_path / "model")
    assert not list(tmp_path.glob("model/*"))


def test_a_missing_package_is_named(best: TrialModel, reader: StudyReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ExportError, match=r"pip install 'flatselect\[hub\]'"):
        make_model_card(reader, best)
