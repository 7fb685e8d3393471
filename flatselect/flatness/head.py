"""The end of a network as flatness sees it: what `find_head` found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from flatselect.flatness.patches import Layer
from flatselect.records import Exactness


@dataclass(frozen=True)
class MeasuredLayer:
    """A layer whose flatness is measured.

    Attributes:
        name: In the model.
        module: A convolution of one to three axes, or a linear layer.
        channel_features: The classifier's input feature that each output channel feeds, (J,) int64; None where the tail
            mixes channels, or where other layers lie between.
        exactness: "hessian" where the network is piecewise linear from here on, else "gauss_newton".
        input_shapes: Of one image's input in each of its runs, where this was found.
    """

    name: str
    module: Layer
    channel_features: Tensor | None
    exactness: Exactness
    input_shapes: tuple[torch.Size, ...]

    @property
    def method(self) -> Literal["closed_form", "class_jacobians"]:
        """How it is measured: "closed_form", or by one backward pass a class."""
        return "class_jacobians" if self.channel_features is None else "closed_form"


@dataclass(frozen=True)
class Head:
    """The end of a network, as flatness sees it.

    Attributes:
        layers: What is measured: the last convolution, or several that feed the pooling side by side; or those asked
            for by name.
        classifier_name: Name of the classifier; "" where there is none.
        classifier: The linear layer, or 1×1 convolution of pooled maps, whose output is the model's (or whose softmax
            or log-softmax is); None where the features are the logits themselves.
        candidates: Names of the convolutions that feed the classifier without another in between.
        refused: Why layers are not measured, by name; only where all were asked for.
        overwrites_images: Whether the model works in place on the images it is given.
        n_graph_elements: Numbers of one image that the graph from the measured layers on holds, roughly.
        gives_probabilities: Whether the output of a model without a classifier is probabilities, not logits.
    """

    layers: tuple[MeasuredLayer, ...]
    classifier_name: str
    classifier: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | None
    candidates: tuple[str, ...]
    refused: Mapping[str, str]
    overwrites_images: bool
    n_graph_elements: int
    gives_probabilities: bool

    @property
    def layer(self) -> str:
        """The names of the measured layers, joined by " + "."""
        return " + ".join(layer.name for layer in self.layers)

    @property
    def exactness(self) -> Exactness:
        """That of all layers: "hessian" if it is so of each."""
        return "hessian" if all(layer.exactness == "hessian" for layer in self.layers) else "gauss_newton"

    def classifier_weight(self, n_features: int) -> Tensor:
        """W, (n_classes, n_features); the identity where the features are the logits."""
        if self.classifier is None:
            return torch.eye(n_features, device=self.layers[0].module.weight.device)
        return self.classifier.weight.detach().flatten(1)
