"""`flatselect rank`: checkpoints that people have, ranked, listed with what is wrong with them, and remembered."""

import csv
import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from measuring import CNN, export
from PIL import Image
from ranking_runs import DIGITS, KEYS, RANK, fit_calibrator, make_study, train
from running import Command
from torch import nn

import flatselect
from flatselect.cli import checkpoint_measuring, rank
from flatselect.data.normalization import compute_mean_std
from flatselect.models import build_model
from flatselect.selection import measuring

pytestmark = pytest.mark.usefixtures("working_folder", "own_cache")


@pytest.fixture(scope="session")
def networks(digits):
    return {f"epochs{n}": train(digits, n, seed=n, width=4) for n in (1, 2, 3)}


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FLATSELECT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def runs(networks, working_folder):
    Path("runs").mkdir()
    for name, network in networks.items():
        torch.save(network.state_dict(), f"runs/{name}.pt")
    return Path("runs")


@pytest.fixture
def calibrator(working_folder):
    fit_calibrator().save("gap.json")
    return "gap.json"


def test_json_is_the_contract_and_what_python_says(runs, networks, digits, calibrator):
    shown = RANK.run_json("runs", *CNN, *DIGITS, "--calibrator", calibrator)
    assert list(shown) == ["calibrator", "checkpoints"]
    described = shown["calibrator"]
    assert (described["source"], described["estimator"], described["coverage"]) == ("gap.json", "ridge", 0.9)
    assert described["n_groups"] == 20
    assert re.fullmatch("[0-9a-f]{64}", described["fingerprint"])
    checkpoints = shown["checkpoints"]
    assert all(list(checkpoint) == KEYS for checkpoint in checkpoints)
    assert [checkpoint["rank"] for checkpoint in checkpoints] == [1, 2, 3]
    scores = [checkpoint["predicted_test_score"] for checkpoint in checkpoints]
    assert scores == sorted(scores, reverse=True)
    assert sum(checkpoint["probability_best"] for checkpoint in checkpoints) == pytest.approx(1)
    predictor = flatselect.GapPredictor.load(calibrator)
    expected = flatselect.rank(
        {f"runs/{name}.pt": network for name, network in networks.items()},
        digits,
        calibrator=predictor,
        n_probe_images=200,
    )
    for checkpoint, candidate in zip(checkpoints, expected.candidates, strict=True):
        own = candidate.to_json()
        assert checkpoint["path"] == own["path"]
        for name in ("predicted_test_score", "predicted_test_gap", "train_score", "relative_gap_flatness"):
            assert checkpoint[name] == pytest.approx(own[name], rel=1e-4), name
        assert checkpoint["predicted_test_score_interval"] == pytest.approx(own["predicted_test_score_interval"])


def test_table_for_people(runs, calibrator):
    (runs / "broken[b].pt").write_bytes(b"")
    done = RANK.run("runs", *CNN, *DIGITS, "--calibrator", calibrator)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    best, *_ = RANK.run_json("runs", *CNN, *DIGITS, "--calibrator", calibrator)["checkpoints"]
    (row,) = [line for line in lines if line.startswith("1 ")]
    assert best["path"] in row
    assert f"{best['train_score']:.4f}" in row
    assert f"{best['predicted_test_score']:.4f}?" in row
    assert f"{best['probability_best']:.3f}" in row
    low, high = best["predicted_test_score_interval"]
    assert f"{low:.3f} to {high:.3f}" in done.stdout
    assert "predicted by gap.json; the intervals are to hold 90% of test scores" in done.stdout
    assert "? extrapolation" in done.stdout
    assert "uncalibrated" not in done.output
    assert done.stderr.startswith("not ranked: runs/broken[b].pt: an empty file;")


def test_without_a_calibrator_it_ranks_and_says_so(runs, networks, digits):
    done = RANK.run("runs", *CNN, *DIGITS, "--calibrator", "none")
    assert done.exit_code == 0, done.output
    assert "uncalibrated: in the order of accuracy on disturbed training images" in done.stdout
    assert "predictions are uncalibrated" in done.stderr
    done = RANK.run("runs", *CNN, *DIGITS, "--calibrator", "none", "--json")
    assert "predictions are uncalibrated" in done.stderr
    shown = json.loads(done.stdout)
    assert shown["calibrator"] is None
    for checkpoint in shown["checkpoints"]:
        assert list(checkpoint) == KEYS
        unknown = {name for name, value in checkpoint.items() if value is None}
        assert unknown == {
            "predicted_test_score", "predicted_test_score_interval", "predicted_test_gap", "probability_best",
            "extrapolation", "error",
        }  # fmt: skip
    expected = flatselect.rank(networks, digits, calibrator="none", n_probe_images=200)
    found = [Path(checkpoint["path"]).stem for checkpoint in shown["checkpoints"]]
    assert found == [candidate.path for candidate in expected.candidates]
    held = ("augmentation_accuracy", "mixup_accuracy", "noise_accuracy")
    accuracies = [sum(c.measurement.companions[name] for name in held) for c in expected.candidates]
    assert accuracies == sorted(accuracies, reverse=True)


def test_what_is_broken_is_listed_with_its_reason_and_the_others_are_ranked(runs, networks):
    (runs / "empty.pt").write_bytes(b"")
    (runs / "garbage.pth").write_bytes(b"\x80\x02 no weights at all" * 10)
    torch.save(build_model("cnn", {"width": 6}, (1, 8, 8), 10).state_dict(), runs / "wider.ckpt")
    network = build_model("cnn", {"width": 4}, (1, 8, 8), 10)
    network.state_dict()["stem.conv.weight"].fill_(float("nan"))
    torch.save(network.state_dict(), runs / "nan.pt")
    torch.save(networks["epochs1"], runs / "whole.pt")
    torch.save(networks["epochs1"].state_dict(), runs / "notes.txt")
    done = RANK.run("runs", "absent.pt", *CNN, *DIGITS, "--calibrator", "none", "--json")
    assert done.exit_code == 0, done.output
    checkpoints = json.loads(done.stdout)["checkpoints"]
    assert [c["rank"] for c in checkpoints] == [1, 2, 3, None, None, None, None, None, None]
    errors = {c["path"]: c["error"] for c in checkpoints if c["rank"] is None}
    assert errors["runs/empty.pt"].startswith("an empty file")
    assert "pickles can run code" in errors["runs/garbage.pth"]
    assert errors["runs/wider.ckpt"].startswith("does not fit cnn (width=4) for 10 classes")
    assert "nan" in errors["runs/nan.pt"].lower()
    assert "a whole pickled model" in errors["runs/whole.pt"]
    assert errors["absent.pt"].startswith("no such file")
    for path in errors:
        assert f"not ranked: {path}: " in done.stderr
    assert done.stderr.count("not ranked: ") == 6


def test_nothing_that_could_be_ranked_is_exit_1(working_folder):
    Path("empty.pt").touch()
    Path("bare").mkdir()
    done = RANK.run("empty.pt", "bare", *CNN, *DIGITS, "--json")
    assert done.exit_code == 1
    assert "no checkpoint could be ranked" in done.stderr
    assert "not ranked: bare: a folder without checkpoints (*.pt, " in done.stderr
    assert [c["rank"] for c in json.loads(done.stdout)["checkpoints"]] == [None, None]
    assert "no checkpoint could be ranked" in RANK.refuse("empty.pt", *CNN, *DIGITS)


def test_a_manifest_names_networks_of_several_kinds(runs, digits):
    torch.save(train(digits, 1, seed=9, width=6, block="residual").state_dict(), runs / "other.pt")
    rows = [
        ("path", "model", "args", "owner"),
        ("epochs1.pt", "cnn", '{"width": 4}', "me"),
        ("other.pt", "cnn", '{"width": 6, "block": "residual"}', "me"),
        ("epochs2.pt", "", "", ""),
        ("epochs3.pt", "cnn", "width=4", ""),
        ("absent.pt", "cnn", "", ""),
        ("", "cnn", "", ""),
    ]
    with Path("runs/nets.csv").open("w", newline="", encoding="utf-8-sig") as stream:
        csv.writer(stream).writerows(rows)
    options = ["--manifest", "runs/nets.csv", *DIGITS, "--calibrator", "none"]
    checkpoints = {c["path"]: c for c in RANK.run_json(*options)["checkpoints"]}
    assert {path for path, c in checkpoints.items() if c["rank"]} == {"runs/epochs1.pt", "runs/other.pt"}
    errors = {path: c["error"] for path, c in checkpoints.items() if c["error"]}
    assert errors["runs/epochs2.pt"].startswith("--model is missing")
    assert "runs/nets.csv:5: args are width=4; expected a JSON object in quotes" in errors["runs/epochs3.pt"]
    assert errors["runs/absent.pt"].startswith("no such file")
    assert errors["runs/nets.csv:7"] == "this row has no path"
    # With arguments beside it: what the manifest says of a file comes first, and each is ranked once.
    done = RANK.run("runs", *options, *CNN, "--json")
    assert "named more than once, ranked once: runs/epochs1.pt, runs/epochs2.pt" in done.stderr
    checkpoints = json.loads(done.stdout)["checkpoints"]
    assert len({c["path"] for c in checkpoints}) == len(checkpoints) == 6
    assert {c["path"] for c in checkpoints if c["rank"]} == {"runs/epochs1.pt", "runs/other.pt", "runs/epochs2.pt"}


def test_a_manifest_whose_json_is_not_quoted_is_read_all_the_same(runs, digits):
    torch.save(train(digits, 1, seed=9, width=6, block="residual").state_dict(), "other.pt")
    Path("nets.csv").write_text('path,model,args\nother.pt,cnn,{"width": 6, "block": "residual"}\n')
    (only,) = RANK.run_json("--manifest", "nets.csv", *DIGITS, "--calibrator", "none")["checkpoints"]
    assert (only["path"], only["rank"], only["error"]) == ("other.pt", 1, None)


def test_a_second_call_reads_no_weights_and_says_the_same(runs, calibrator, monkeypatch):
    arguments = ["runs", *CNN, *DIGITS, "--calibrator", calibrator, "--unlabeled", "digits"]
    first = RANK.run_json(*arguments)

    def refuse_to_read(path):
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr(checkpoint_measuring, "read_weight_file", refuse_to_read)
    monkeypatch.setattr(checkpoint_measuring, "measure_training_pixels", refuse_to_read)
    done = RANK.run(*arguments, "--json")
    assert json.loads(done.stdout) == first
    assert "3 of 3 checkpoints were measured before" in done.stderr
    # A copy is the same content, and another calibrator needs no measurement.
    shutil.copy("runs/epochs1.pt", "runs/copy.pt")
    assert len(RANK.run_json(*arguments, "--calibrator", "none")["checkpoints"]) == 4
    # Another probe, seed, normalisation or set of images is measured anew.
    images = np.random.default_rng(0).integers(0, 256, (99, 8, 8), dtype=np.uint8)
    np.savez("x.npz", images=images, labels=np.arange(99) % 10)
    for changed in (
        ["--no-cache"],
        ["--images", "100"],
        ["--seed", "1"],
        ["--mean", "0.5", "--std", "0.5"],
        ["--unlabeled", "arrays:x.npz"],
        ["--data", "arrays:x.npz", "--images", "50"],
    ):
        checkpoints = json.loads(RANK.run(*arguments, *changed, "--json").stdout)["checkpoints"]
        assert len(checkpoints) == 4
        assert all("is read again" in c["error"] for c in checkpoints), changed


def test_changed_weights_are_measured_again_and_a_damaged_cache_is_rewritten(runs, networks):
    arguments = ["runs/epochs1.pt", *CNN, *DIGITS, "--calibrator", "none"]
    (first,) = RANK.run_json(*arguments)["checkpoints"]
    torch.save(networks["epochs3"].state_dict(), "runs/epochs1.pt")
    (second,) = RANK.run_json(*arguments)["checkpoints"]
    assert first["relative_gap_flatness"] != second["relative_gap_flatness"]
    files = list(Path("cache/measurements").iterdir())
    assert len(files) == 2
    for file in files:
        file.write_text(file.read_text()[:100])
    assert RANK.run_json(*arguments)["checkpoints"] == [second]
    assert sorted(len(file.read_text()) > 100 for file in files) == [False, True]


def test_the_kernel_on_pixels_is_kept_for_the_calibrators_that_read_it(runs, calibrator, monkeypatch):
    sets = []

    def measure_training_pixels(train_set, seed):
        sets.append(len(train_set))
        return measuring.measure_training_pixels(train_set, seed)

    monkeypatch.setattr(checkpoint_measuring, "measure_training_pixels", measure_training_pixels)
    arguments = ["runs", *CNN, *DIGITS]
    RANK.run_json(*arguments, "--calibrator", "none")
    assert not sets
    predicted = RANK.run_json(*arguments, "--calibrator", calibrator)["checkpoints"]
    assert len(sets) == 1
    assert RANK.run_json(*arguments, "--calibrator", calibrator)["checkpoints"] == predicted
    assert len(sets) == 1
    assert RANK.run_json(*arguments, "--calibrator", calibrator, "--no-cache")["checkpoints"] == predicted
    assert len(sets) == 2
    RANK.run_json(*arguments, "--calibrator", calibrator, "--seed", "1")
    assert len(sets) == 3


@pytest.mark.end_to_end
def test_processes_say_the_same_and_one_that_dies_takes_none_with_it(runs, digits):
    Path("rank_dying_nets.py").write_text(
        "import os, signal\n"
        "from flatselect.models import build_model\n"
        "def build(n_classes, width=4):\n"
        "    print('built')\n"
        "    if width == 5:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return build_model('cnn', {'width': 4}, (1, 8, 8), n_classes)\n"
    )
    rows = ["path,model,args", *(f"{name}.pt,rank_dying_nets:build," for name in ("epochs1", "epochs2", "epochs3"))]
    shutil.copy("runs/epochs1.pt", "runs/dies.pt")
    Path("runs/nets.csv").write_text("\n".join([*rows[:2], 'dies.pt,rank_dying_nets:build,{"width": 5}', *rows[2:]]))
    options = ["--manifest", "runs/nets.csv", *DIGITS, "--calibrator", "none"]
    shown = RANK.run_json(*options, "--workers", 2)["checkpoints"]
    assert [c["path"] for c in shown if c["error"]] == ["runs/dies.pt"]
    assert "was ended by SIGKILL; was memory short?" in shown[-1]["error"]
    here = RANK.run_json("runs/epochs1.pt", "runs/epochs2.pt", "runs/epochs3.pt", *CNN, *DIGITS, "--calibrator", "none")
    for one, other in zip(shown[:3], here["checkpoints"], strict=True):
        assert (one["path"], one["train_score"]) == (other["path"], other["train_score"])
        assert one["relative_gap_flatness"] == pytest.approx(other["relative_gap_flatness"], rel=1e-5)


def test_own_code_prints_to_standard_error_and_is_measured_again_when_it_changed(runs):
    code = "from flatselect.models import build_model\n" "def build(n_classes):\n" "    print('hello')\n" \
           "    return build_model('cnn', {'width': 4}, (1, 8, 8), n_classes)\n"  # fmt: skip
    Path("rank_talking_nets.py").write_text(code)
    arguments = ["runs/epochs1.pt", "--model", "rank_talking_nets:build", *DIGITS, "--calibrator", "none", "--json"]
    done = RANK.run(*arguments)
    assert json.loads(done.stdout)["checkpoints"][0]["rank"] == 1
    assert "hello" in done.stderr
    assert "hello" not in RANK.run(*arguments).stderr
    Path("rank_talking_nets.py").write_text(code + "# changed\n")
    assert "hello" in RANK.run(*arguments).stderr


def test_a_ranking_is_remembered_beside_others(runs, calibrator):
    (runs / "broken.pt").write_bytes(b"no checkpoint")
    words = ["runs", "--model", "cnn", *DIGITS, "--calibrator", calibrator, "--record", "ranked.db"]
    ranked = json.loads(RANK.run(*words, "--json").stdout)["checkpoints"]
    assert "is remembered" in RANK.run(*words).stderr
    question = "SELECT path, rank, score, probability_best, error FROM flatselect_ranked_checkpoints ORDER BY position"
    told = json.loads(Command(("sql",)).run(question, "ranked.db", "--json").stdout)
    assert len(told) == 2 * len(ranked)
    keys = {"path": "path", "rank": "rank", "score": "predicted_test_score", "error": "error"}
    keys["probability_best"] = "probability_best"
    expected = sorted(([c[key] for key in keys.values()] for c in ranked for _ in range(2)), key=str)
    assert sorted(([row[name] for name in keys] for row in told), key=str) == expected
    images = json.loads(
        Command(("sql",)).run("SELECT name, n_classes FROM flatselect_datasets", "ranked.db", "--json").stdout
    )
    assert images == [{"name": "digits", "n_classes": 10}]


def test_a_database_that_cannot_be_used_is_found_before_anything_is_measured(runs):
    done = RANK.run("runs", "--model", "cnn", *DIGITS, "--record", "nowhere/ranked.db")
    assert done.exit_code == 1
    assert "there is no folder" in done.stderr
    assert "measuring" not in done.stderr


def test_csv_and_jsonl_are_one_record_a_checkpoint(runs, calibrator):
    Path("runs/empty.pt").touch()
    arguments = ["runs", *CNN, *DIGITS, "--calibrator", calibrator]
    records = RANK.run_json(*arguments)["checkpoints"]
    assert [json.loads(line) for line in RANK.run(*arguments, "--jsonl").stdout.splitlines()] == records
    rows = list(csv.DictReader(io.StringIO(RANK.run(*arguments, "--csv").stdout)))
    assert [row["path"] for row in rows] == [record["path"] for record in records]
    assert float(rows[0]["predicted_test_score_high"]) == records[0]["predicted_test_score_interval"][1]
    assert (rows[-1]["rank"], rows[-1]["predicted_test_score_low"]) == ("", "")
    assert "an empty file" in rows[-1]["error"]


def test_unlabelled_images_need_no_labels(runs, networks, digits):
    pixels = digits.pixels[:60].numpy()
    np.savez("new.npz", images=pixels)
    arguments = ["runs", *CNN, *DIGITS, "--calibrator", "none", "--unlabeled", "arrays:new.npz"]
    found = RANK.run_json(*arguments)
    assert all(c["rank"] for c in found["checkpoints"])
    shown = RANK.run(*arguments).stdout
    assert "uncalibrated: in the order of the mean of weighted agreement with the others on unlabelled images" in shown
    assert "agreement" in shown.splitlines()[0] + shown.splitlines()[1]
    (file, *_) = Path("cache/measurements").iterdir()
    kept = json.loads(file.read_text())
    assert "unlabeled_nuclear_norm" in kept["measurement"]["companions"]
    images = digits.images("cpu")[:60]
    expected = flatselect.rank(networks, digits, calibrator="none", n_probe_images=200, unlabeled=images)
    known = {c.measurement.companions["unlabeled_confidence"] for c in expected.candidates}
    assert any(kept["measurement"]["companions"]["unlabeled_confidence"] == pytest.approx(value) for value in known)
    np.savez("large.npz", images=np.zeros((5, 16, 16), dtype=np.uint8))
    message = RANK.refuse("runs", *CNN, *DIGITS, "--unlabeled", "arrays:large.npz")
    assert "unlabelled images of arrays:large.npz are 1×16×16, training images 1×8×8" in message
    assert "--unlabeled arrays:absent.npz: absent.npz: no such file" in RANK.refuse(
        "runs", *CNN, *DIGITS, "--unlabeled", "arrays:absent.npz"
    )


def test_a_page_with_a_plot(runs, calibrator):
    Path("runs/<b>.pt").touch()
    done = RANK.run(
        "runs", *CNN, *DIGITS, "--calibrator", calibrator, "--unlabeled", "digits", "-o", "report.html", "--json"
    )
    assert done.exit_code == 0, done.output
    page = Path("report.html").read_text(encoding="utf-8")
    for checkpoint in json.loads(done.stdout)["checkpoints"]:
        assert checkpoint["path"].replace("<b>", "&lt;b&gt;") in page
    assert "digits: 1,297 of 1×8×8, 10 classes" in page
    assert "gap.json: ridge on 20 rows of 20 groups, SHA-256" in page
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*https?:", page)
    assert "report.html: written" in done.stderr


def test_exported_models_say_what_they_are_and_how_their_images_were_normalised(networks, digits):
    for name, mean in (("epochs1", 0.1), ("epochs2", 0.4)):
        state = networks[name].state_dict()
        Path(export("cnn", {"width": 4}, state, mean=(mean,), std=(0.3,))).rename(f"{name}.pt")
    found = {
        c["path"]: c for c in RANK.run_json("epochs1.pt", "epochs2.pt", *DIGITS, "--calibrator", "none")["checkpoints"]
    }
    for name, mean in (("epochs1", 0.1), ("epochs2", 0.4)):
        images = dataclasses.replace(digits, mean=(mean,), std=(0.3,))
        (expected,) = flatselect.rank([networks[name]], images, calibrator="none", n_probe_images=200).candidates
        assert found[f"{name}.pt"]["train_score"] == pytest.approx(expected.train_score)
        assert found[f"{name}.pt"]["relative_gap_flatness"] == pytest.approx(expected.relative_gap_flatness, rel=1e-4)
    # Constants that are given come first.
    given = RANK.run_json("epochs1.pt", *DIGITS, "--calibrator", "none", "--mean", "0.4", "--std", "0.3")[
        "checkpoints"
    ][0]
    assert given["train_score"] != found["epochs1.pt"]["train_score"]


def test_an_exported_model_is_not_scored_by_labels_that_mean_other_classes(networks, digits):
    """A folder that lacks one of its classes, or has another order, would number all that follow otherwise."""
    names = [f"class {number}" for number in range(10)]
    for number, label in enumerate(digits.labels[:60].tolist()):
        Path(f"all/{names[label]}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.pixels[number, 0].numpy()).save(f"all/{names[label]}/{number}.png")
    shutil.copytree("all", "some")
    shutil.rmtree("some/class 3")
    export("cnn", {"width": 4}, networks["epochs3"].state_dict(), class_names=names)
    (found,) = RANK.run_json("model.pt", "--data", "folder:all", "--calibrator", "none")["checkpoints"]
    assert found["error"] is None
    message = RANK.refuse("model.pt", "--data", "folder:some", "--calibrator", "none")
    assert (
        "not ranked: model.pt: its class 3 of 10 is class 3, that of folder:some class 4, of 9; give the images that "
        "it was trained on, of all its classes" in message
    )
    # Numbers are but an order.
    assert RANK.run_json("model.pt", *DIGITS, "--calibrator", "none")["checkpoints"][0]["error"] is None


def test_an_exported_model_is_not_ranked_by_images_of_another_size(networks):
    export("cnn", {"width": 4}, networks["epochs3"].state_dict())
    message = RANK.refuse("model.pt", *DIGITS, "--image-size", "16", "--calibrator", "none")
    assert (
        "it was trained on images of 1×8×8, those of digits are 1×16×16 (channels×height×width); give --image-size 8"
        in message
    )


def test_an_exported_model_of_a_part_of_the_images_is_ranked_with_a_note(networks, digits):
    export("cnn", {"width": 4}, networks["epochs3"].state_dict(), n_images=300)
    for _ in range(2):  # from the cache too
        done = RANK.run("model.pt", *DIGITS, "--calibrator", "none")
        note = f"model.pt: it was trained on 300 images, and digits has {len(digits)}: its training score here is not"
        assert note in done.stderr
        assert done.exit_code == 0
    export("cnn", {"width": 4}, networks["epochs3"].state_dict(), n_images=len(digits))
    assert "it was trained on" not in RANK.run("model.pt", *DIGITS, "--calibrator", "none").stderr


def test_weights_that_are_nan_are_named(runs):
    weights = torch.load("runs/epochs1.pt")
    weights["classifier.weight"][2, 1] = torch.nan
    torch.save(weights, "diverged.pt")
    message = RANK.refuse("diverged.pt", *CNN, *DIGITS)
    assert "diverged.pt: weight 'classifier.weight' of the model, shape (10, " in message
    assert "holds 1 NaN or infinite value, the first at [2, 1]" in message


def test_the_latest_calibrator_of_a_study(runs):
    make_study("digits", [])
    message = RANK.refuse("runs", *CNN, *DIGITS, "--calibrator", "study:digits")
    assert "--calibrator study:digits: this study has no calibrator yet" in message
    older, newer = fit_calibrator(), fit_calibrator(slope=0.05)
    make_study("other", [older, newer])
    for spec in (["study:other"], ["study:other.db"], ["study:other", "--storage", "sqlite:///other.db"]):
        shown = RANK.run_json("runs", *CNN, *DIGITS, "--calibrator", *spec)
        assert shown["calibrator"]["source"] == spec[0]
    newer.save("newer.json")
    expected = RANK.run_json("runs", *CNN, *DIGITS, "--calibrator", "newer.json")
    assert shown["checkpoints"] == expected["checkpoints"]
    assert shown["calibrator"]["fingerprint"] == expected["calibrator"]["fingerprint"]


def test_image_folders_and_plain_images_of_use(runs, digits, networks):
    for number, (pixels, label) in enumerate(
        zip(digits.pixels[:80, 0].numpy(), digits.labels[:80].tolist(), strict=True)
    ):
        Path(f"photos/{int(label)}").mkdir(parents=True, exist_ok=True)
        Path("plain").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(f"photos/{int(label)}/{number:03}.png")
        Image.fromarray(pixels).save(f"plain/{number:03}.png")
    arguments = ["runs", *CNN, "--data", "folder:photos", "--calibrator", "none"]
    plain = RANK.run_json(*arguments)["checkpoints"]
    with_unlabeled = RANK.run_json(*arguments, "--unlabeled", "folder:plain")["checkpoints"]
    # The order may be another, by agreement on the plain images; what is measured on the photos is the same.
    assert {(c["path"], c["train_score"], c["relative_gap_flatness"]) for c in with_unlabeled} == {
        (c["path"], c["train_score"], c["relative_gap_flatness"]) for c in plain
    }
    order = torch.argsort(digits.labels[:80], stable=True)
    images = dataclasses.replace(digits.subset(order), mean=None, std=None)
    mean, std = compute_mean_std([images.pixels])
    expected = flatselect.rank(networks, dataclasses.replace(images, mean=mean, std=std), calibrator="none")
    for checkpoint, candidate in zip(plain, expected.candidates, strict=True):
        assert Path(checkpoint["path"]).stem == candidate.path
        assert checkpoint["relative_gap_flatness"] == pytest.approx(candidate.relative_gap_flatness, rel=1e-4)


def test_images_that_changed_in_their_files_are_measured_anew(runs, digits):
    """All bitmaps of a size are of as many bytes; of a folder's images only names and sizes are in the fingerprint."""
    labels = digits.labels[:60].tolist()
    for folder, pixels in (("photos", digits.pixels), ("others", 255 - digits.pixels)):
        for number, label in enumerate(labels):
            Path(f"{folder}/{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[number, 0].numpy()).save(f"{folder}/{label}/{number:03}.bmp")

    def find_flatness(folder, *options):
        arguments = ["runs/epochs3.pt", *CNN, "--mean", "0.3", "--std", "0.4", "--calibrator", "none"]
        (checkpoint,) = RANK.run_json(*arguments, "--data", f"folder:{folder}", *options)["checkpoints"]
        return checkpoint["relative_gap_flatness"]

    of_photos, of_others = find_flatness("photos"), find_flatness("others")
    assert of_photos != of_others == find_flatness("others", "--no-cache")
    for file in Path("others").rglob("*.bmp"):
        shutil.copy(file, Path("photos").joinpath(*file.parts[1:]))
    assert find_flatness("photos") == of_others


def test_a_network_of_another_end_is_ranked_with_a_note(runs):
    Path("rank_headed_nets.py").write_text(
        "from torch import nn\n"
        "def build(n_classes):\n"
        "    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, n_classes)]\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), *end)\n"
    )
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 10)]
    torch.save(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), *end).state_dict(), "headed.pt")
    for _ in range(2):  # the second time from the cache
        done = RANK.run("headed.pt", "--model", "rank_headed_nets:build", *DIGITS, "--calibrator", "none", "--json")
        assert json.loads(done.stdout)["checkpoints"][0]["rank"] == 1
        assert "headed.pt: measured at layer 0 by name" in done.stderr


def test_code_that_ends_python_is_listed(runs):
    Path("rank_ending_nets.py").write_text("import sys\nsys.exit(3)\n")
    Path("nets.csv").write_text("path,model\nruns/epochs1.pt,rank_ending_nets:build\nruns/epochs2.pt,\n")
    ended, ranked = sorted(
        RANK.run_json("--manifest", "nets.csv", *CNN, *DIGITS, "--calibrator", "none")["checkpoints"],
        key=lambda c: c["path"],
    )
    assert "ended Python (exit code 3)" in ended["error"]
    assert ranked["rank"] == 1


def test_large_training_sets_are_sampled(runs, monkeypatch):
    from flatselect.selection import measuring

    monkeypatch.setattr(measuring, "MOST_TRAIN_IMAGES", 300)
    monkeypatch.setattr(rank, "MOST_TRAIN_IMAGES", 300)
    done = RANK.run("runs/epochs1.pt", *CNN, *DIGITS, "--calibrator", "none", "--no-cache", "--json")
    assert "training scores are of 300 of the 1297 images, drawn by class" in done.stderr
    score = json.loads(done.stdout)["checkpoints"][0]["train_score"] * 300
    assert score == pytest.approx(round(score))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--calibrator", "absent.json"], "absent.json: no such calibrator file"),
        (["--calibrator", "study:absent"], "no absent.db here or in studies/"),
        (["--storage", "sqlite:///x.db"], "--storage sqlite:///x.db: is for --calibrator study:NAME"),
        (["--data", "digist"], "--data digist: unknown data set; did you mean digits?"),
        (["--unlabeled", "digist"], "--unlabeled digist: unknown data set; did you mean digits?"),
        (["--data", "arrays:bare.npz"], "no `labels` among images"),
        (["--images", "5000"], "--images 5000: digits has 1297 images"),
        (["--manifest", "absent.csv"], "--manifest absent.csv: no such file; expected a CSV file with the columns"),
        (["--manifest", "wrong.csv"], "--manifest wrong.csv: its columns are file, model; expected"),
        (["-o", "report.pdf"], "-o report.pdf: expected the name of an HTML page"),
        (["-o", "absent/report.html"], "-o absent/report.html: cannot be written"),
        (["--device", "gpu"], "--device gpu: not to be used here"),
    ],
)
def test_mistakes_get_a_message_in_words_of_the_options(options, text, runs):
    np.savez("bare.npz", images=np.zeros((5, 8, 8), dtype=np.uint8))
    Path("wrong.csv").write_text("file,model\na.pt,cnn\n")
    message = RANK.refuse("runs", *CNN, "--data", "digits", *options)
    assert text in message
    assert "data." not in message


@pytest.mark.parametrize(
    ("wanted", "device", "n_checkpoints", "expected"),
    [(None, "cpu", 3, 1), (None, "cpu", 8, 2), (None, "cpu", 100, 4), (None, "cuda", 100, 1), (3, "cuda", 2, 2)],
)
def test_processes_by_default(wanted, device, n_checkpoints, expected, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert rank._choose_n_workers(wanted, torch.device(device), n_checkpoints) == expected


def test_misuse_is_exit_2(runs):
    assert RANK.run(*CNN, *DIGITS).exit_code == 2
    assert RANK.run("runs", *CNN).exit_code == 2
    assert RANK.run("runs", *CNN, *DIGITS, "--workers", "0").exit_code == 2
