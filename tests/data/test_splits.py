import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flatselect.data.splits import draw_stratified, split_holdout
from flatselect.errors import DataError

labels_of_any_set = st.lists(st.integers(0, 6), min_size=1, max_size=80).map(torch.tensor)
seeds = st.integers(0, 2**31 - 1)


@settings(deadline=None, max_examples=150)
@given(labels_of_any_set, st.floats(0.01, 0.99), seeds)
def test_holdout_and_training_part_the_set(labels, fraction, seed):
    counts = torch.bincount(labels)
    if (counts <= 1).all():
        with pytest.raises(DataError, match="each class has one"):
            split_holdout(labels, fraction, seed)
        return
    training, holdout = split_holdout(labels, fraction, seed)
    assert torch.cat([training, holdout]).sort().values.tolist() == list(range(len(labels)))
    assert training.tolist() == sorted(training.tolist())
    assert holdout.tolist() == sorted(holdout.tolist())
    assert set(labels[training].tolist()) == set(labels.tolist())
    most = len(labels) - int((counts > 0).sum())
    assert len(holdout) == min(max(1, round(fraction * len(labels))), most)
    again = split_holdout(labels, fraction, seed)
    assert torch.equal(again[0], training)
    assert torch.equal(again[1], holdout)


@settings(deadline=None, max_examples=150)
@given(labels_of_any_set, st.data(), seeds)
def test_draw_keeps_the_proportions(labels, data, seed):
    n = data.draw(st.integers(0, len(labels)))
    drawn = draw_stratified(labels, n, seed)
    assert len(drawn) == n == len(set(drawn.tolist()))
    assert drawn.tolist() == sorted(drawn.tolist())
    counts = torch.bincount(labels)
    shares = torch.bincount(labels[drawn], minlength=len(counts))
    exact = counts * n / len(labels)
    if n >= (counts > 0).sum():
        assert (shares[counts > 0] >= 1).all()
    if (exact[counts > 0] >= 1).all():
        assert ((shares - exact).abs() < 1).all()


def test_rare_classes_are_drawn_and_the_common_one_pays():
    labels = torch.tensor([0] * 97 + [1, 2, 3])
    assert labels[draw_stratified(labels, 4, seed=1)].tolist() == [0, 1, 2, 3]


def test_each_class_is_held_out_in_its_proportion():
    labels = torch.tensor([0] * 100 + [1] * 50 + [2] * 10)
    _, holdout = split_holdout(labels, 0.2, seed=3)
    assert torch.bincount(labels[holdout]).tolist() == [20, 10, 2]


def test_seeds_draw_different_parts():
    labels = torch.arange(200) % 10
    parts = {tuple(split_holdout(labels, 0.2, seed)[1].tolist()) for seed in range(8)}
    assert len(parts) == 8
    assert not torch.equal(draw_stratified(labels, 50, 0), draw_stratified(labels, 50, 1))


@settings(deadline=None, max_examples=50)
@given(labels_of_any_set, st.data(), seeds)
def test_draws_are_those_of_earlier_versions(labels, data, seed):
    # A study that goes on with a newer version must hold out the images that it held out before.
    n = data.draw(st.integers(0, len(labels)))
    drawn = draw_stratified(labels, n, seed)
    shares = torch.bincount(labels[drawn], minlength=int(labels.max()) + 1)
    generator = torch.Generator().manual_seed(seed)
    if n:
        torch.rand(len(shares), generator=generator, dtype=torch.float64)  # the lots
    expected = []
    for label, share in enumerate(shares.tolist()):
        members = (labels == label).nonzero().squeeze(1)
        expected += members[torch.randperm(len(members), generator=generator)[:share]].tolist()
    assert drawn.tolist() == sorted(expected)


def test_label_numbers_may_be_far_apart():
    labels = torch.arange(4000) % 4 * 300_000
    assert labels[draw_stratified(labels, 400, seed=0)].unique(return_counts=True)[1].tolist() == [100] * 4
    assert labels[split_holdout(labels, 0.1, seed=0)[1]].unique(return_counts=True)[1].tolist() == [100] * 4


def test_each_image_is_equally_likely_to_be_held_out():
    labels = torch.arange(40) % 4
    times = torch.zeros(40)
    for seed in range(400):
        times[split_holdout(labels, 0.25, seed)[1]] += 1
    # 100 expected, standard deviation sqrt(400 · 0.25 · 0.75) = 8.7: five of them are allowed.
    assert times.min() > 56
    assert times.max() < 144


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_impossible_fractions_are_refused(fraction):
    with pytest.raises(DataError, match="between 0 and 1"):
        split_holdout(torch.tensor([0, 0, 1, 1]), fraction, seed=0)


def test_more_images_than_there_are_cannot_be_drawn():
    with pytest.raises(DataError, match="cannot draw 5 images: there are 4"):
        draw_stratified(torch.tensor([0, 0, 1, 1]), 5, seed=0)
