"""A network as a program that runs without its Python code: torch.export (`.pt2`) and ONNX, of any batch size."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flatselect.data.normalization import Constants
from flatselect.errors import ExportError
from flatselect.models.model_document import DOCUMENT_KEY

Forward = Callable[[Tensor], Tensor]

INPUT_NAME, OUTPUT_NAME = "images", "logits"
_EXAMPLES = 3  # images of the batch that is traced: neither of the sizes that the file is tried with


class Normalized(nn.Module):
    """A network behind the normalisation of its images: it takes pixels of 0 to 1.

    Args:
        model: The network; its weights are in `state_dict` under `model.`, and nothing else is.
        constants: Mean and std by channel, on [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, constants: tuple[Constants, Constants]) -> None:
        super().__init__()
        self.model = model
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in constants)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model((images - self.mean) / self.std)
        return logits


def write_torch_program(network: nn.Module, input_shape: tuple[int, int, int], document: str, path: Path) -> None:
    """Writes a torch.export program; the document is its extra file `flatselect.json`.

    Raises:
        ExportError: torch cannot follow the network's code.
    """
    with _without_noise():
        program = _trace(network, input_shape)
        torch.export.save(program, path, extra_files={f"{DOCUMENT_KEY}.json": document})


def open_torch_program(path: Path) -> Forward:
    """The program of a file that was written a moment ago: files of others are never run."""
    with _without_noise():
        module: Forward = torch.export.load(path).module()
    return module


def write_onnx(network: nn.Module, input_shape: tuple[int, int, int], document: str, path: Path) -> None:
    """Writes an ONNX graph with the weights in it; the document is its metadata `flatselect`.

    Raises:
        ExportError: ONNX's packages are missing, or the network cannot be said in ONNX.
    """
    _require_onnx()
    with _without_noise():
        program = _trace(network, input_shape)
        try:
            graph = torch.onnx.export(
                program, input_names=[INPUT_NAME], output_names=[OUTPUT_NAME], dynamo=True, verbose=False
            )
            assert graph is not None, "a path was given to none"
            graph.model.metadata_props[DOCUMENT_KEY] = document
            content = graph.model_proto.SerializeToString()
        except Exception as error:  # whatever the converter meets in a network
            raise ExportError(f"the network cannot be written as ONNX: {_first_line(error)}") from error
    path.write_bytes(content)


def open_onnx(path: Path) -> Forward:
    """The graph, run by onnxruntime on the CPU."""
    _require_onnx()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT_NAME], {INPUT_NAME: images.numpy()})[0])

    return run


def _trace(network: nn.Module, input_shape: tuple[int, int, int]) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    try:
        return torch.export.export(network, (torch.randn(_EXAMPLES, *input_shape),), dynamic_shapes=({0: batch},))
    except Exception as error:  # whatever torch meets in a network's code
        raise ExportError(
            f"torch.export cannot follow the network's code: {_first_line(error)}; "
            "write its weights alone: -o model.safetensors"
        ) from error


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise ExportError(
            f"writing ONNX needs {error.name}, which is not installed: pip install 'flatselect[onnx]'"
        ) from None


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
    """Warnings and log lines of torch's exporters, of their own code, which nobody here can do anything about."""
    loggers: list[Any] = [logging.getLogger(name) for name in ("torch.export", "torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
