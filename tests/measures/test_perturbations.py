import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from flatselect.errors import DataError
from flatselect.measures import perturbations
from flatselect.measures.perturbations import PERTURBATION_NAMES, measure_perturbations


def make_images(n=40, channels=2, height=6, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = 3 * torch.randn(n, channels, height, width, generator=generator) + 1
    labels = torch.randint(0, 4, (n,), generator=generator)
    return images, labels


def make_network(channels=2, n_classes=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(n_classes)).eval()


@torch.no_grad()
def measure(network, images, labels, extras=PERTURBATION_NAMES, **options):
    return measure_perturbations(network, images, labels, extras, **options)


def test_every_extra_has_three_measures_in_one_order():
    images, labels = make_images()
    values = measure(make_network(), images, labels, ["noise", "augmentation", "mixup"])
    assert list(values) == [f"{e}_{m}" for e in PERTURBATION_NAMES for m in ("agreement", "accuracy", "loss")]
    assert measure(make_network(), images, labels, []) == {}


def test_an_extra_does_not_depend_on_what_else_is_asked_for():
    images, labels = make_images()
    network = make_network()
    every = measure(network, images, labels)
    for extra in PERTURBATION_NAMES:
        alone = measure(network, images, labels, [extra])
        assert alone == {name: every[name] for name in alone}


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_batch_size_does_not_matter(batch_size):
    images, labels = make_images()
    network = make_network().double()
    whole = measure(network, images.double(), labels)
    assert measure(network, images.double(), labels, batch_size=batch_size) == pytest.approx(whole, rel=1e-9)


def test_seed_decides_what_is_drawn():
    images, labels = make_images()
    network = make_network()
    assert measure(network, images, labels, seed=3) == measure(network, images, labels, seed=3)
    assert measure(network, images, labels, seed=3) != measure(network, images, labels, seed=4)


def test_a_network_that_sees_nothing_agrees_with_itself():
    images, labels = make_images()

    def always_class_two(batch):
        return torch.tensor([0.0, 0.0, 5.0, 0.0]).expand(len(batch), 4)

    values = measure(always_class_two, images, labels)
    share = (labels == 2).double().mean().item()
    for extra in PERTURBATION_NAMES:
        assert values[f"{extra}_agreement"] == 1
        assert values[f"{extra}_accuracy"] == pytest.approx(share)


def test_mixup_computed_the_long_way():
    """A linear network: its logits on a mixture are the mixture of its logits."""
    images, labels = make_images()
    images = images.double()
    torch.manual_seed(1)
    weight = torch.randn(images[0].numel(), 4, dtype=torch.float64)

    def predict(batch):
        return batch.flatten(1) @ weight

    values = measure(predict, images, labels, ["mixup"], seed=5)
    generator = torch.Generator().manual_seed(5)
    logits, kept, right, losses = predict(images), [], [], []
    for _ in range(2):
        order = torch.randperm(len(images), generator=generator).tolist()
        weights = 0.6 + 0.4 * torch.rand(len(images), generator=generator)
        for position, image in enumerate(order):
            partner, share = order[position - 1], weights[image].item()
            mixed = share * logits[image] + (1 - share) * logits[partner]
            log_p = mixed - mixed.exp().sum().log()
            kept.append(mixed.argmax() == logits[image].argmax())
            right.append(mixed.argmax() == labels[image])
            losses.append(-share * log_p[labels[image]] - (1 - share) * log_p[labels[partner]])
    assert values["mixup_agreement"] == pytest.approx(torch.stack(kept).double().mean().item())
    assert values["mixup_accuracy"] == pytest.approx(torch.stack(right).double().mean().item())
    assert values["mixup_loss"] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-6)


def test_noise_has_a_quarter_of_the_spread_of_each_channel():
    images, labels = make_images(n=400)
    images[:, 1] *= 10
    seen = []

    def predict(batch):
        seen.append(batch)
        return torch.zeros(len(batch), 4)

    measure(predict, images, labels, ["noise"], batch_size=1000)
    _, first, second = seen
    for channel in range(2):
        added = (first - images)[:, channel]
        assert added.std().item() == pytest.approx(0.25 * images[:, channel].std().item(), rel=0.05)
        assert added.mean().abs().item() < 0.05 * added.std().item()
    assert not torch.equal(first, second)


def draw_augmented(images, **amounts):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LARGEST_ROTATION", "LARGEST_SHIFT", "LARGEST_SCALING"):
            patch.setattr(perturbations, name, amounts.get(name, 0.0))
        return perturbations._move(images, torch.Generator().manual_seed(0))


def test_augmentation_by_nothing_changes_nothing():
    images, _ = make_images()
    torch.testing.assert_close(draw_augmented(images), images)


def test_augmentation_turns_without_distorting_images_that_are_not_square():
    """A disc stays a disc (near the middle: elsewhere reflections come into view)."""
    height, width = 40, 24
    rows, columns = torch.meshgrid(torch.arange(height) - 19.5, torch.arange(width) - 11.5, indexing="ij")
    disc = (rows**2 + columns**2 < 36).float().expand(20, 1, -1, -1).contiguous()
    turned = draw_augmented(disc, LARGEST_ROTATION=math.pi / 2)
    assert (turned - disc)[:, :, 8:32].abs().mean().item() < 0.02
    bar = (rows.abs() < 2).float().expand(20, 1, -1, -1).contiguous()
    assert (draw_augmented(bar, LARGEST_ROTATION=math.pi / 2) - bar).abs().mean().item() > 0.1


def test_augmentation_moves_and_scales_by_at_most_a_tenth():
    images = torch.zeros(200, 1, 21, 21)
    images[:, 0, 10, 10] = 1
    grid = torch.arange(21.0)
    moved = draw_augmented(images, LARGEST_SHIFT=0.1)
    at = (moved[:, 0].sum(2) @ grid) / moved.sum((1, 2, 3))
    assert at.min().item() == pytest.approx(10 - 2.1, abs=0.15)
    assert at.max().item() == pytest.approx(10 + 2.1, abs=0.15)
    rows = (grid - 10).abs()
    ball = ((rows[:, None] ** 2 + rows**2) < 36).float().expand(200, 1, -1, -1).contiguous()
    sizes = draw_augmented(ball, LARGEST_SCALING=0.1).sum((1, 2, 3)) / ball[0].sum()
    assert 0.78 < sizes.min().item() < 0.88
    assert 1.12 < sizes.max().item() < 1.27


def test_what_an_augmentation_uncovers_is_the_images_own_reflection():
    bright = torch.full((30, 1, 8, 8), 5.0)
    torch.testing.assert_close(perturbations._move(bright, torch.Generator().manual_seed(0)), bright)


def test_losses_under_augmentation_are_plain_cross_entropies():
    images, labels = make_images()
    network = make_network().double()
    images = images.double()
    value = measure(network, images, labels, ["augmentation"])["augmentation_loss"]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        draws = [network(perturbations._move(images, generator)) for _ in range(2)]
    expected = sum(functional.cross_entropy(logits, labels).item() for logits in draws) / 2
    assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(0, 1, 4, 4), torch.zeros(0).long(), "at least one image"),
        (torch.zeros(3, 4, 4), torch.zeros(3).long(), r"\(3, 4, 4\)"),
        (torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.zeros(3).long(), "uint8"),
        (torch.zeros(3, 2, 6, 5), torch.zeros(2).long(), r"labels are of shape \(2,\)"),
        (torch.zeros(3, 2, 6, 5), torch.full((3,), 9), "between 9 and 9"),
    ],
)
def test_what_is_not_labelled_images_is_refused(images, labels, message):
    with pytest.raises(DataError, match=message):
        measure(make_network(), images, labels)


def test_one_image_is_enough():
    images, labels = make_images(n=1)
    assert all(math.isfinite(value) for value in measure(make_network(), images, labels).values())
