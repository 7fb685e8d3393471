"""Relative GAP flatness: exact, label-free, about the price of one forward pass."""

from flatselect.flatness.accumulation import GapFlatness
from flatselect.flatness.head import Head, MeasuredLayer
from flatselect.flatness.head_search import find_head
from flatselect.flatness.measure import measure
from flatselect.flatness.measurement import LayerFlatness, Measurement
from flatselect.flatness.penalty import flatness_penalty
from flatselect.flatness.reference import (
    GradientFlatness,
    ReferenceFlatness,
    reference_by_gradients,
    reference_flatness,
)

__all__ = [
    "GapFlatness",
    "GradientFlatness",
    "Head",
    "LayerFlatness",
    "MeasuredLayer",
    "Measurement",
    "ReferenceFlatness",
    "find_head",
    "flatness_penalty",
    "measure",
    "reference_by_gradients",
    "reference_flatness",
]
