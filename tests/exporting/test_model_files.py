"""A trial's model in each format, read back by the format's own reader and compared with the network."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch
from hostile_study import CLASS_NAMES
from torch import nn

import flatselect
from flatselect.errors import CheckpointError, ConfigError, ExportError, FlatselectError
from flatselect.exporting.model_files import FORMATS, write_model
from flatselect.exporting.trial_model import TrialModel, read_trial_model
from flatselect.models import build_model
from flatselect.models.weight_files import read_weight_file
from flatselect.store.study_reader import StudyReader
from flatselect.training.checkpoint import hash_file

BATCHES = (1, 2, 7)


@torch.no_grad()
def compute(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return network(images.clone())


def draw_pixels(n_images: int) -> torch.Tensor:
    return torch.randint(256, (n_images, 3, 8, 8), generator=torch.Generator().manual_seed(n_images))


def normalize(pixels: torch.Tensor, model: TrialModel) -> torch.Tensor:
    mean, std = (torch.tensor(model.data[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (pixels / 255 - mean) / std


def test_the_model_is_the_trials(best: TrialModel, reader: StudyReader) -> None:
    state = torch.load(reader.checkpoint(best.trial.number).path, weights_only=True)
    network = build_model("cnn", {"width": best.trial.params["width"]}, (3, 8, 8), 4)
    network.load_state_dict(state["model"])
    images = torch.randn(5, 3, 8, 8)
    assert torch.equal(compute(best.network, images), compute(network.eval(), images))
    assert best.epoch == 3


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model.pt2", "normalized.pt2"])
def test_load_reads_what_was_written(best: TrialModel, tmp_path: Path, name: str) -> None:
    written = write_model(best, tmp_path / "new" / name, normalizes=name.startswith("normalized"))
    assert written.sha256 == hash_file(tmp_path / "new" / name)
    assert written.size == (tmp_path / "new" / name).stat().st_size
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]
    network = flatselect.load(tmp_path / "new" / name)
    assert not network.training
    assert set(network.class_names) == set(CLASS_NAMES)
    assert network.class_names == tuple(best.data["class_names"])
    assert network.provenance == best.content["provenance"]
    assert network.provenance["trial"]["audit_test_score"] is None
    for n_images in BATCHES:
        images = normalize(draw_pixels(n_images), best)
        assert torch.equal(compute(network, images), compute(best.network, images))


def test_safetensors_is_read_by_safetensors(best: TrialModel, reader: StudyReader, tmp_path: Path) -> None:
    from safetensors import safe_open

    write_model(best, tmp_path / "model.safetensors")
    state = torch.load(reader.checkpoint(best.trial.number).path, weights_only=True)["model"]
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        assert set(opened.keys()) == set(state)
        assert all(torch.equal(opened.get_tensor(name), tensor) for name, tensor in state.items())
        metadata = opened.metadata()
    assert metadata["format"] == "pt"
    document = json.loads(metadata["flatselect"])
    assert document["model_args"] == {"width": best.trial.params["width"]}
    assert document["input"]["mean"] == best.data["mean"]
    assert document["input"]["takes"] == "(pixels / 255 - mean) / std by channel"
    assert document["provenance"]["trial"]["number"] == best.trial.number


@pytest.mark.parametrize("normalizes", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.export, in reading
def test_a_torch_program_takes_any_number_of_images(best: TrialModel, tmp_path: Path, normalizes: bool) -> None:
    write_model(best, tmp_path / "model.pt2", normalizes=normalizes)
    extra = {"flatselect.json": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()
    for n_images in BATCHES:
        pixels = draw_pixels(n_images)
        images = normalize(pixels, best)
        found = compute(program, pixels / 255 if normalizes else images)
        torch.testing.assert_close(found, compute(best.network, images), rtol=1e-4, atol=1e-4)
    takes = json.loads(extra["flatselect.json"])["input"]["takes"]
    assert takes == ("pixels / 255, of 0 to 1" if normalizes else "(pixels / 255 - mean) / std by channel")


@pytest.mark.parametrize("normalizes", [False, True])
def test_onnx_runs_in_onnxruntime(best: TrialModel, tmp_path: Path, normalizes: bool) -> None:
    import onnx
    import onnxruntime

    write_model(best, tmp_path / "model.onnx", normalizes=normalizes)
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (image_input,), (output,) = session.get_inputs(), session.get_outputs()
    assert (image_input.name, image_input.shape[1:], output.name) == ("images", [3, 8, 8], "logits")
    assert isinstance(image_input.shape[0], str)
    for n_images in BATCHES:
        pixels = draw_pixels(n_images)
        images = normalize(pixels, best)
        (found,) = session.run(["logits"], {"images": (pixels / 255 if normalizes else images).numpy()})
        torch.testing.assert_close(torch.tensor(found), compute(best.network, images), rtol=1e-4, atol=1e-4)
    document = json.loads(session.get_modelmeta().custom_metadata_map["flatselect"])
    assert document["class_names"] == best.data["class_names"]
    assert document["input"]["std"] == best.data["std"]
    assert document["input"]["takes"].startswith("pixels / 255," if normalizes else "(pixels / 255 -")


class Wobbling(nn.Module):
    """What it computes is another thing every time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images) + torch.randn(())


class Choosing(nn.Module):
    """What it computes depends on the images in a way that cannot be traced."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, 0, 0] if images.sum() > 3 else images[:, :, 1, 1]


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_computes_something_else_is_not_written(best: TrialModel, tmp_path: Path, form: str) -> None:
    (tmp_path / f"model.{form}").write_text("an older file")
    with pytest.raises(ExportError, match=r"not written: on 1 random images the \w+ file's outputs differ"):
        write_model(dataclasses.replace(best, network=Wobbling(best.network)), tmp_path / f"model.{form}")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["an older file"]


def test_weights_must_be_the_very_same(best: TrialModel, tmp_path: Path) -> None:
    weights = best.content["state_dict"]
    name = next(name for name in weights if name.endswith("weight"))
    changed = best.content | {"state_dict": weights | {name: weights[name] * (1 + 1e-6)}}
    with pytest.raises(ExportError, match="not written"):
        write_model(dataclasses.replace(best, content=changed), tmp_path / "model.safetensors")


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_a_network_that_cannot_be_traced_is_refused(best: TrialModel, tmp_path: Path, form: str) -> None:
    with pytest.raises(ExportError, match=r"torch.export cannot follow the network's code: .*-o model.safetensors"):
        write_model(dataclasses.replace(best, network=Choosing()), tmp_path / f"model.{form}")
    assert not list(tmp_path.iterdir())


def test_safetensors_holds_tensors_alone(best: TrialModel, tmp_path: Path) -> None:
    content = best.content | {"state_dict": best.content["state_dict"] | {"_extra_state": {"a": 1}}}
    with pytest.raises(ExportError, match=r"holds tensors alone, and the network's _extra_state is none"):
        write_model(dataclasses.replace(best, content=content), tmp_path / "model.safetensors")


def test_weights_may_share_memory(best: TrialModel, tmp_path: Path) -> None:
    weights = dict(best.content["state_dict"])
    flat = torch.cat([value.flatten() for value in weights.values() if value.is_floating_point()])
    start = 0
    for name, value in weights.items():
        if value.is_floating_point():
            weights[name] = flat[start : start + value.numel()].view(value.shape)
            start += value.numel()
    model = dataclasses.replace(best, content=best.content | {"state_dict": weights})
    write_model(model, tmp_path / "model.safetensors")
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(compute(flatselect.load(tmp_path / "model.safetensors"), images), compute(best.network, images))


@pytest.mark.parametrize(
    ("name", "form", "normalizes", "message"),
    [
        ("model.torchscript", None, False, r"TorchScript is deprecated in torch .* -o model\.pt2"),
        ("model.h5", None, False, r"-o model\.h5: \.h5 names no format; expected \.pt, \.safetensors, \.pt2, \.onnx"),
        ("model", None, False, "no suffix names no format"),
        ("model.safetensors", None, True, "weights do not normalise images"),
        ("model.onnx", "pt", True, "weights do not normalise images"),
    ],
)
def test_a_users_mistakes(best: TrialModel, name: str, form: str | None, normalizes: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write_model(best, name, form, normalizes=normalizes)
    assert not Path(name).exists()


def test_the_format_may_be_said(best: TrialModel, tmp_path: Path) -> None:
    write_model(best, tmp_path / "weights", "safetensors")
    assert (tmp_path / "weights").read_bytes()[8:9] == b"{"


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_is_said(best: TrialModel, tmp_path: Path, form: str) -> None:
    with pytest.raises(CheckpointError, match="is the disk full"):
        write_model(best, tmp_path / f"model.{form}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("form", "package", "extra"),
    [("safetensors", "safetensors", "safetensors"), ("onnx", "onnxruntime", "onnx"), ("onnx", "onnx", "onnx")],
)
def test_a_missing_package_is_named(
    best: TrialModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, package: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(FlatselectError, match=rf"needs {package}, .* pip install 'flatselect\[{extra}\]'"):
        write_model(best, tmp_path / f"model.{form}")


def save_with_document(path: Path, document: str) -> Path:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, path, {"flatselect": document})
    return path


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "what flatselect says of it is damaged"),
        ("[]", "damaged: keys are missing"),
        ('{"kind": "flatselect model"}', "damaged: keys are missing"),
        (
            '{"kind":"","model":"","model_args":{},"input_shape":[],"class_names":[],"provenance":{},'
            '"format_version":9}',
            "format 9, this flatselect reads up to 1; update it",
        ),
    ],
)
def test_what_a_file_says_of_itself_is_not_trusted(tmp_path: Path, document: str, message: str) -> None:
    path = save_with_document(tmp_path / "model.safetensors", document)
    for read in (read_weight_file, flatselect.load):
        with pytest.raises(CheckpointError, match=message):
            read(path)


def test_files_at_a_url(best: TrialModel) -> None:
    for form in ("pt", "safetensors"):
        written = write_model(best, f"memory://exported/model.{form}")
        assert hash_file(f"memory://exported/model.{form}") == written.sha256
    assert flatselect.load("memory://exported/model.pt").provenance == best.content["provenance"]
    with pytest.raises(CheckpointError, match="copy it to this machine first"):
        flatselect.load("memory://exported/model.safetensors")


def test_a_file_of_another_maker_is_no_exported_model(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    assert read_weight_file(tmp_path / "model.safetensors").content == {}
    with pytest.raises(CheckpointError, match="not a model that flatselect exported"):
        flatselect.load(tmp_path / "model.safetensors")


def test_a_safetensors_file_does_not_name_the_code_that_is_run(best: TrialModel, tmp_path: Path) -> None:
    write_model(best, tmp_path / "model.safetensors")
    document = json.dumps(json.loads(read_document(tmp_path / "model.safetensors")) | {"model": "os:system"})
    path = save_with_document(tmp_path / "hostile.safetensors", document)
    with pytest.raises(CheckpointError, match="built by 'os:system'; if you trust it"):
        flatselect.load(path)


def read_document(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(path, "pt") as opened:
        return str(opened.metadata()["flatselect"])


def test_any_trial_can_be_read(reader: StudyReader) -> None:
    pruned = next(trial for trial in reader.trials(include_audits=False) if trial.state == "PRUNED")
    model = read_trial_model(reader, pruned.number)
    assert model.epoch == pruned.epochs < 3
