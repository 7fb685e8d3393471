"""Choosing among networks that are trained already: measured on their training images, predicted, ranked."""

from flatselect.selection.models import rank
from flatselect.selection.result import Ranking

__all__ = ["Ranking", "rank"]
