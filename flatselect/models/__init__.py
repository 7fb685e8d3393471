"""Networks by name: the built-in CNN family, torchvision, timm and the user's own factories."""

from flatselect.models.cnn import GapCnn
from flatselect.models.factories import build_model, count_parameters

__all__ = ["GapCnn", "build_model", "count_parameters"]
