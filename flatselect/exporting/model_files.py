"""The formats in which a trial's model can be written, each tried before it takes its place."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from flatselect.errors import CheckpointError, ConfigError, ExportError
from flatselect.exporting.loading import load
from flatselect.exporting.programs import (
    INPUT_NAME,
    Forward,
    Normalized,
    open_onnx,
    open_torch_program,
    write_onnx,
    write_torch_program,
)
from flatselect.exporting.trial_model import TrialModel
from flatselect.file_location import is_url, open_whole
from flatselect.models.factories import is_own_code
from flatselect.models.model_document import DOCUMENT_KEY, make_document
from flatselect.training.checkpoint import CheckpointFile, hash_file, save_checkpoint

_TRIED_BATCHES = (1, 5)  # images
# Other kernels, folded batch norms: the same sums in another order. Of the largest logit.
_TOLERANCE = 1e-4


class ModelFormat(NamedTuple):
    """A format: what of the model it holds, how a file is written, and how it is run."""

    is_program: bool
    write: Callable[[TrialModel, nn.Module, str, Path], None]
    open: Callable[[TrialModel, Path], Forward]


def _write_pt(model: TrialModel, network: nn.Module, document: str, path: Path) -> None:
    save_checkpoint(path, model.content, model.epoch)


def _write_safetensors(model: TrialModel, network: nn.Module, document: str, path: Path) -> None:
    try:
        from safetensors.torch import save_file
    except ModuleNotFoundError:
        raise ExportError(
            "writing safetensors needs safetensors, which is not installed: pip install 'flatselect[safetensors]'"
        ) from None
    weights = model.content["state_dict"]
    if others := [name for name, value in weights.items() if not isinstance(value, Tensor)]:
        raise ExportError(f"safetensors holds tensors alone, and the network's {others[0]} is none; write a .pt file")
    # Copies, as weights that share memory are refused.
    tensors = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in weights.items()}
    save_file(tensors, path, {"format": "pt", DOCUMENT_KEY: document})


def _load(model: TrialModel, path: Path) -> Forward:
    name = model.candidate.model
    return load(path, factory=name if is_own_code(name) else None)


FORMATS = {
    "pt": ModelFormat(False, _write_pt, _load),
    "safetensors": ModelFormat(False, _write_safetensors, _load),
    "pt2": ModelFormat(
        True,
        lambda model, network, document, path: write_torch_program(network, model.input_shape, document, path),
        lambda model, path: open_torch_program(path),
    ),
    "onnx": ModelFormat(
        True,
        lambda model, network, document, path: write_onnx(network, model.input_shape, document, path),
        lambda model, path: open_onnx(path),
    ),
}
_SUFFIXES = {".pt": "pt", ".pth": "pt", ".safetensors": "safetensors", ".pt2": "pt2", ".onnx": "onnx"}
_TORCHSCRIPT = (".torchscript", ".ts")


def find_format(path: str) -> str:
    """The format that a file's name means; raises ConfigError for a name of none."""
    suffix = Path(path).suffix.lower()
    if suffix in _TORCHSCRIPT:
        raise ConfigError(
            f"-o {path}: TorchScript is deprecated in torch and no longer written here; write a torch.export program: "
            f"-o {Path(path).with_suffix('.pt2')}"
        )
    if suffix not in _SUFFIXES:
        raise ConfigError(
            f"-o {path}: {suffix or 'no suffix'} names no format; expected .pt, .safetensors, .pt2, .onnx, or a folder "
            "(a name that ends in /), or say --format"
        )
    return _SUFFIXES[suffix]


def write_model(
    model: TrialModel, path: str | Path, form: str | None = None, *, normalizes: bool = False
) -> CheckpointFile:
    """Writes a model, whole or not at all, once what the file computes has been compared with the network's outputs.

    They are compared on random images, one and five of them: weights must give the very same logits, and a program,
    whose sums may be in another order, must be within 1e-4 of the largest.

    Args:
        model: What `read_trial_model` or `average_trial_models` returned.
        path: A file, or an fsspec URL of one; folders above it are made.
        form: One of `FORMATS`; None for what the file's name says.
        normalizes: Whether a program is to take pixels of 0 to 1 and normalise them itself.

    Raises:
        ConfigError: The name means no format, or weights alone are to normalise.
        ExportError: The model cannot be written in this format, or the file's outputs are not the network's.
        CheckpointError: The file cannot be written.
    """
    form = form or find_format(str(path))
    chosen = FORMATS[form]
    if normalizes and not chosen.is_program:
        raise ConfigError(f"weights do not normalise images; only programs can (.pt2, .onnx), and {path} is none")
    # Images that were taken as they are come normalised.
    constants = model.constants if normalizes else None
    network = model.network if constants is None else Normalized(model.network, constants).eval()
    document = make_document(
        model.content,
        input=describe_input(model, is_normalized_inside=constants is not None),
        weights_prefix="" if constants is None else "model.",
    )
    with tempfile.TemporaryDirectory(prefix="flatselect-") as folder:
        draft = Path(folder, f"model.{form}")
        try:
            chosen.write(model, network, document, draft)
            _compare_outputs(network, chosen.open(model, draft), model.input_shape, form)
            sha256, size = hash_file(draft), draft.stat().st_size
            with draft.open("rb") as source, open_whole(path, make_folders=True) as target:
                shutil.copyfileobj(source, target)
        except OSError as error:
            hint = "" if is_url(str(path)) else "; is the disk full?"
            raise CheckpointError(f"{path}: the model cannot be written ({error}){hint}") from error
    return CheckpointFile(str(path), model.epoch, sha256, size)


def describe_input(model: TrialModel, *, is_normalized_inside: bool = False) -> dict[str, object]:
    """What the network takes, for readers of other programs."""
    mean, std = model.constants or (None, None)
    formula = "images as they are" if mean is None else "(pixels / 255 - mean) / std by channel"
    return {
        "name": INPUT_NAME,
        "dtype": "float32",
        "shape": ["batch", *model.input_shape],
        "takes": "pixels / 255, of 0 to 1" if is_normalized_inside else formula,
        "mean": mean,
        "std": std,
    }


@torch.no_grad()
def _compare_outputs(network: nn.Module, forward: Forward, input_shape: tuple[int, int, int], form: str) -> None:
    generator = torch.Generator().manual_seed(0)
    tolerance = _TOLERANCE if FORMATS[form].is_program else 0.0
    for n_images in _TRIED_BATCHES:
        images = torch.rand(n_images, *input_shape, generator=generator)
        expected = network(images.clone())
        try:
            found = forward(images.clone())
        except Exception as error:  # whatever a runtime does not know
            raise ExportError(f"the {form} file does not run on {n_images} images: {error}") from error
        difference = (found - expected).abs().max().item() if found.shape == expected.shape else float("nan")
        if not difference <= tolerance * max(1.0, expected.abs().max().item()):
            raise ExportError(
                f"not written: on {n_images} random images the {form} file's outputs differ from the network's by "
                f"{difference:.3g}, the largest of which is {expected.abs().max().item():.3g}"
            )
