"""What is kept of measurements, and what happens where nothing can be."""

import math

import numpy as np
import pytest

from flatselect.records import EpochMeasurement
from flatselect.selection.measurement_cache import MeasurementCache
from flatselect.selection.measuring import MeasuredNetwork

MEASUREMENT = EpochMeasurement(
    1, 0.9, math.inf, 100, 1000, relative_gap_flatness=1.5, companions={"mixup_accuracy": 0.7}
)


def test_what_is_kept_is_found_and_nothing_else_lies_there(tmp_path):
    cache = MeasurementCache(tmp_path / "not" / "there")
    cache.keep("a", MeasuredNetwork(MEASUREMENT, np.array([3, 1], dtype=np.int32), "a note", "study/7/f"))
    found = cache.find("a")
    assert (found.measurement, found.note, found.origin) == (MEASUREMENT, "a note", "study/7/f")
    np.testing.assert_array_equal(found.unlabeled_classes, [3, 1])
    assert cache.find("b") is None
    assert [path.name for path in cache.folder.iterdir()] == ["a.json"]


def test_numbers_of_a_training_set_are_kept_beside_networks(tmp_path):
    cache = MeasurementCache(tmp_path)
    cache.keep_companions("set", {"pixel_kernel_accuracy": 0.75})
    cache.keep("network", MeasuredNetwork(MEASUREMENT))
    assert cache.find_companions("set") == {"pixel_kernel_accuracy": 0.75}
    assert cache.find_companions("network") is cache.find_companions("absent") is cache.find("set") is None
    (tmp_path / "set.json").write_text('{"companions": {"pixel_ker')
    assert cache.find_companions("set") is None


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_keeps_nothing_and_stops_nobody(tmp_path):
    cache = MeasurementCache(tmp_path)
    cache.keep("a", MeasuredNetwork(MEASUREMENT))
    assert cache.find("a") is None
    assert not list(tmp_path.iterdir())
