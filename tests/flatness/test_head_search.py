"""What the search for a head computes, and what it takes from the pass that it has recorded."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from cases import make_case
from torch import Tensor, nn

from flatselect import UnsupportedHeadError, measure
from flatselect.flatness import find_head, reference_flatness


class ManyWays(nn.Module):
    """Convolutions upstream that run once, several times, on crops as rows, with a hook, and between the last ones."""

    def __init__(self) -> None:
        super().__init__()
        self.once, self.twice, self.on_crops, self.hooked, self.between = (
            nn.Conv2d(3, 3, 3, padding=1) for _ in range(5)
        )
        self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 5, 3)
        self.fc = nn.Linear(9, 4)
        self.hooked.register_forward_hook(lambda module, args, output: 3 * output)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(F.relu(self.twice(F.relu(self.once(x)))))
        x = self.on_crops(x.unflatten(3, (2, -1)).movedim(3, 1).flatten(0, 1)).unflatten(0, (len(x), 2)).mean(1)
        x = self.hooked(x)
        maps = [self.left(self.between(x)), self.right(self.between(x.flip(3)))]
        return self.fc(F.relu(torch.cat(maps, 1)).mean((2, 3)))


def test_what_is_upstream_of_the_last_convolutions_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, images = ManyWays().double(), torch.randn(4, 3, 8, 16, dtype=torch.float64)
    n_runs: Counter[nn.Module] = Counter()
    convolve = nn.Conv2d._conv_forward

    def count(module: nn.Conv2d, *args: Tensor) -> Tensor:
        n_runs[module] += 1
        return convolve(module, *args)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", count)
    measured = measure(model, images)
    # The recorded run, the one under noise, and the images themselves.
    found = {name: n_runs[module] for name, module in model.named_children()}
    assert found == {
        "once": 2, "twice": 4, "on_crops": 3, "hooked": 3, "between": 6, "left": 3, "right": 3, "fc": 0
    }  # fmt: skip
    assert [layer.layer for layer in measured.layers] == ["left", "right"]
    for layer in measured.layers:
        expected = reference_flatness(model, images, layer=layer.layer)
        assert layer.relative_flatness == pytest.approx(expected.relative_gap_flatness, rel=1e-8)
    assert not any("forward" in vars(module) for module in model.modules())


class Squeezed(nn.Sequential):
    """Takes no image alone: it squeezes away the images' axis, too."""

    def forward(self, x: Tensor) -> Tensor:
        *features, pool, classifier = self
        for module in features:
            x = module(x)
        return classifier(pool(x).squeeze())


def test_a_network_that_takes_no_image_alone() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    classifier, images = nn.Linear(5, 3), torch.randn(4, 3, 8, 8)
    plain = nn.Sequential(*layers, nn.Flatten(), classifier)
    squeezed = Squeezed(*layers, classifier)
    assert find_head(squeezed, images).layer == "2"
    assert measure(squeezed, images).relative_gap_flatness == measure(plain, images).relative_gap_flatness


@pytest.mark.parametrize("images", [torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8).repeat(4, 1, 1, 1)])
def test_company_is_seen_where_there_is_one_image_only(images: Tensor) -> None:
    """Batch statistics over copies of an image are those of the image alone."""
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), norm, nn.Conv2d(4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    )
    with pytest.raises(UnsupportedHeadError, match="changes with the other images of its batch"):
        measure(model, images)


def test_a_branch_at_rest_beside_another() -> None:
    """It is looked at by itself, in one more pass with what is upstream computed once."""
    model, images, _ = make_case("parallel")
    nn.init.zeros_(model.get_submodule("main.1").weight)
    measured = measure(model, images)
    assert [layer.layer for layer in measured.layers] == ["main.0", "beside.0"]
    for layer in measured.layers:
        expected = reference_flatness(model, images, layer=layer.layer).relative_gap_flatness
        assert layer.relative_flatness == pytest.approx(expected, rel=1e-8)
    assert measured.layers[0].relative_flatness == 0
