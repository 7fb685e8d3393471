"""Labelled images: named sets, image folders and arrays; splits; batches on the device."""

from flatselect.data.dataset import Dataset, TensorDataset, gather_images
from flatselect.data.folder import FolderDataset
from flatselect.data.loading import load_audit_set, load_measured_set, load_training_set, load_unlabeled_set
from flatselect.data.splits import draw_stratified, split_holdout

__all__ = [
    "Dataset",
    "FolderDataset",
    "TensorDataset",
    "draw_stratified",
    "gather_images",
    "load_audit_set",
    "load_measured_set",
    "load_training_set",
    "load_unlabeled_set",
    "split_holdout",
]
