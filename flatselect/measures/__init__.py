"""Label-free companions of flatness, from the same forward pass: confidence, logit spread, margins and norms."""

from flatselect.measures.companions import COMPANION_NAMES, ImageCompanions, summarise_companions
from flatselect.measures.softmax_split import SoftmaxSplit, split_softmax

__all__ = ["COMPANION_NAMES", "ImageCompanions", "SoftmaxSplit", "split_softmax", "summarise_companions"]
