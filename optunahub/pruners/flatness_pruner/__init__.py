"""FlatnessPruner as an OptunaHub package."""

from ._pruner import FlatnessPruner

__all__ = ["FlatnessPruner"]
