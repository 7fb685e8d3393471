"""Companions of flatness from the same forward pass: confidence, logit spread, margins and norms; over all images
flatness of the last linear layer and the head's soft rank; and, where there are labels, what these add.
"""

from flatselect.measures.companions import COMPANION_NAMES, ImageCompanions, summarise_companions
from flatselect.measures.set_companions import LABEL_COMPANION_NAMES, SET_COMPANION_NAMES, compute_set_companions
from flatselect.measures.softmax_split import SoftmaxSplit, split_softmax

__all__ = [
    "COMPANION_NAMES",
    "LABEL_COMPANION_NAMES",
    "SET_COMPANION_NAMES",
    "ImageCompanions",
    "SoftmaxSplit",
    "compute_set_companions",
    "split_softmax",
    "summarise_companions",
]
