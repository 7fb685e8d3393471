"""One forward pass that records gradients in the tail alone: from the last convolution to the classifier."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from flatselect.errors import ModelError, UnsupportedHeadError
from flatselect.flatness.model_state import run_model


@dataclass(frozen=True)
class TailPass:
    """One batch between its last convolution and its logits.

    Attributes:
        images: Input of the convolution, (n_images, C_in, H, W); a copy, as a residual may be added to it in place.
        activations: Output a of the convolution, (n_images, J, H_out, W_out): the leaf of the tail's graph.
        features: Input h of the classifier, (n_images, n_features), with the tail's graph.
        logits: Output z of the classifier, (n_images, n_classes), with the tail's graph.
        output: Output of the model.
    """

    images: Tensor
    activations: Tensor
    features: Tensor
    logits: Tensor
    output: object

    def differentiate_features(self, cotangent: Tensor) -> Tensor:
        """∂⟨cotangent, h⟩/∂a, (n_images, J, H_out, W_out); the graph stays.

        Raises:
            ModelError: Something in the tail cannot be differentiated (a reentrant activation checkpoint).
        """
        try:
            (gradient,) = torch.autograd.grad(self.features, self.activations, cotangent, retain_graph=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ModelError(
                f"the model cannot be differentiated between its last convolution and its classifier: {error}"
            ) from error
        return gradient


def run_tail(
    model: nn.Module,
    convolution: nn.Module,
    classifier: nn.Module,
    images: Tensor,
    handles: list[RemovableHandle],
    perturb: Callable[[Tensor], Tensor] | None = None,
) -> TailPass:
    """Runs the model without gradients up to `convolution`'s output, and with them from there on.

    Args:
        model: In evaluation mode, under `torch.no_grad`.
        convolution: Where the tail begins.
        classifier: Whose input and output are wanted.
        images: (n_images, channels, height, width).
        handles: Receives the hooks, so that they go also after an exception.
        perturb: Changes the convolution's output, to see the tail elsewhere than the images put it.

    Raises:
        UnsupportedHeadError: One of the two layers does not run exactly once.
    """
    heads: list[tuple[Tensor, Tensor]] = []
    tails: list[tuple[Tensor, Tensor]] = []

    def begin_tail(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
        activations = output.detach() if perturb is None else perturb(output.detach())
        activations.requires_grad_()
        heads.append((first_input(args, kwargs).detach().clone(), activations))
        torch.set_grad_enabled(True)
        # A copy, so that an activation working in place does not work on the leaf.
        return activations.clone()

    def end_tail(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
        tails.append((first_input(args, kwargs), output))
        return output.clone()

    own = [
        convolution.register_forward_hook(begin_tail, with_kwargs=True),
        classifier.register_forward_hook(end_tail, with_kwargs=True),
    ]
    handles.extend(own)
    with torch.no_grad():
        output = run_model(model, images)
    for handle in own:
        handle.remove()
    if len(heads) != 1 or len(tails) != 1:
        raise UnsupportedHeadError(
            f"the measured convolution ran {len(heads)} times and the classifier {len(tails)} times in one forward "
            "pass; closed-form flatness needs each to run exactly once"
        )
    return TailPass(*heads[0], *tails[0], output)


def first_input(args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> Tensor:
    """A layer's input, given by position or by name."""
    return args[0] if args else kwargs["input"]


def is_output_of_classifier(output: object, logits: Tensor) -> bool:
    """Whether a model's output is the logits, or their softmax or log-softmax, by value."""
    if not isinstance(output, Tensor) or output.shape != logits.shape:
        return False
    z = logits.detach().double()
    tolerance = 64 * torch.finfo(logits.dtype).eps
    for expected in (z, z.softmax(1), z.log_softmax(1)):
        scale = max(1.0, float(expected.abs().max()))
        if torch.allclose(output.detach().double(), expected, rtol=tolerance, atol=tolerance * scale):
            return True
    return False
