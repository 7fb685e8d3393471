"""What holds for the images that a head was found with need not hold for those that come later."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from two_convolutions import Two

from flatselect import UnsupportedHeadError, measure
from flatselect.errors import DataError
from flatselect.flatness import GapFlatness, find_head, reference_by_gradients

Forward = Callable[[Any, Tensor], Tensor]


class Net(Two):
    """With padding, so that maps are as large as the images."""

    def __init__(self, end: Forward, **modules: nn.Module):
        torch.manual_seed(0)
        super().__init__(end, **modules)
        self.c1, self.c2, self.fc = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 5, 3, padding=1), nn.Linear(5, 4)

    def maps(self, x: Tensor) -> Tensor:
        return F.relu(self.c2(F.relu(self.c1(x))))


def classify_mean(net: Net, x: Tensor) -> Tensor:
    return net.fc(net.maps(x).mean((2, 3)))


def draw(n_images: int = 3, size: int = 8) -> Tensor:
    return torch.randn(n_images, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))


def expect(model: nn.Module, batches: list[Tensor], layer: str) -> float:
    """κ over batches of images of several sizes, by brute force."""
    sums = [len(batch) * reference_by_gradients(model, batch, layer).gauss_newton_flatness for batch in batches]
    return float(sum(sums) / sum(map(len, batches)))


class Windows(nn.Module):
    """A linear layer on 6×6 windows: one row an image, or several of a larger one."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, maps: Tensor) -> Tensor:
        n, c, h, w = maps.shape
        windows = maps.view(n, c, h // 6, 6, w // 6, 6).permute(0, 2, 4, 3, 5, 1).reshape(-1, 36, c)
        back = F.relu(self.linear(windows)).view(n, h // 6, w // 6, 6, 6, c)
        return back.permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def test_windows_of_larger_images_as_rows_are_refused() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        return net.fc(F.relu(net.c2(net.windows(F.relu(net.c1(x))))).mean((2, 3)))

    model = Net(forward, windows=Windows()).double()
    one = draw(size=6)
    measured = measure(model, one, layer="windows.linear")
    assert measured.relative_gap_flatness == pytest.approx(expect(model, [one], "windows.linear"), rel=1e-8)
    with pytest.raises(UnsupportedHeadError, match=r"'windows.linear' \(Linear\) works on 12 rows for 3 images"):
        measure(model, [one, draw(size=12)], layer="windows.linear")
    # What comes after the windows is measured all the same.
    both = [one, draw(size=12)]
    assert measure(model, both).relative_gap_flatness == pytest.approx(expect(model, both, "c2"), rel=1e-8)


class PadsAsItLikes(nn.Conv2d):
    """Pads images of odd sizes by reflection."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 2:
            return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.weight, self.bias)
        return super().forward(x)


def test_a_convolution_that_is_another_for_other_sizes_is_refused() -> None:
    model = Net(classify_mean)
    model.c2 = PadsAsItLikes(6, 5, 3, padding=1)
    model.double()
    even = [draw(size=8), draw(size=10)]
    assert measure(model, even).relative_gap_flatness == pytest.approx(expect(model, even, "c2"), rel=1e-8)
    for options in ({}, {"layer": "c2"}, {"layers": "all"}, {"head": find_head(model, draw(size=8))}):
        with pytest.raises(UnsupportedHeadError, match=r"'c2' .* does not compute the convolution with its own weight"):
            measure(model, [draw(size=8), draw(size=9)], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"layers": "all"}])
def test_a_model_that_runs_batches_in_parts_is_refused_with_their_size(options: dict[str, str]) -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        return net.fc(torch.cat([net.maps(part) for part in x.split(6)]).mean((2, 3)))

    model = Net(forward).double()
    images = draw(8)
    with pytest.raises(UnsupportedHeadError, match=r"works on 6 \+ 2 rows for 8 images.* of at most 6 images"):
        measure(model, images, **options)  # type: ignore[arg-type]
    measured = measure(model, images, batch_size=6, **options)  # type: ignore[arg-type]
    assert measured.layers[-1 if not options else 1].layer == "c2"
    (layer,) = (layer for layer in measured.layers if layer.layer == "c2")
    assert layer.relative_flatness == pytest.approx(expect(Net(classify_mean).double(), [images], "c2"), rel=1e-8)


def test_a_convolution_that_runs_again_for_larger_images() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        maps = net.maps(x)
        more = net.c2(F.relu(net.c1(x.flip(3)))) if x.shape[-1] > 8 else 0
        return net.fc((maps + more).mean((2, 3)))

    model = Net(forward).double()
    batches = [draw(size=8), draw(size=10)]
    measured = measure(model, batches)
    assert measured.relative_gap_flatness == pytest.approx(expect(model, batches, "c2"), rel=1e-8)
    assert (measured.method, measured.exactness) == ("class_jacobians", "gauss_newton")


def test_another_way_through_the_tail_for_another_size_than_the_heads() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        maps = net.maps(x)
        features = maps.mean((2, 3)) if x.shape[-1] <= 8 else maps.reshape(len(x), -1, 5).mean(1)
        return net.fc(features)

    model = Net(forward).double()
    larger = draw(size=10)
    expected = expect(model, [larger], "c2")
    for measured in (measure(model, larger, head=find_head(model, draw(size=8))), measure(model, larger, layer="c2")):
        assert measured.relative_gap_flatness == pytest.approx(expected, rel=1e-8)
        assert measured.method == "class_jacobians"


@pytest.mark.parametrize("seed", range(12))
def test_a_gate_that_moves_for_later_images_is_not_called_exact_upstream_of_it(seed: int) -> None:
    """By class Jacobians too: `layer=` names a convolution before the last one."""

    def forward(net: Net, x: Tensor) -> Tensor:
        maps = net.c2(F.relu(net.c1(x)))
        gate = F.relu6(net.fc(maps.mean((2, 3))) + 3) / 6
        return net.out(F.relu(maps * gate[..., None, None]).mean((2, 3)))

    model = Net(forward, out=nn.Linear(5, 3))
    model.fc = nn.Linear(5, 5)
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = 2 * torch.randn_like(parameter) / parameter[0].numel() ** 0.5
    model.double()
    saturated, moving = 60 * draw(6), draw(6)
    measured = measure(model, [saturated, moving], layer="c1")
    alone = measure(model, moving, layer="c1")
    assert alone.exactness == "gauss_newton"
    assert measured.exactness == "gauss_newton"
    assert measured.relative_gap_flatness == pytest.approx(expect(model, [saturated, moving], "c1"), rel=1e-8)


@pytest.mark.parametrize("normalise", [nn.utils.weight_norm, nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_a_weight_that_hooks_make_anew_is_read_after_they_did(normalise: Callable[[nn.Module], nn.Module]) -> None:
    model = Net(classify_mean).double()
    normalise(model.c2)
    images = draw()
    head = find_head(model, images)
    F.cross_entropy(model(images), torch.tensor([0, 1, 2])).backward()
    torch.optim.SGD(model.parameters(), 5.0).step()
    model.eval()
    measured, found_again = measure(model, images, head=head), measure(model, images)
    with torch.no_grad():
        model(images)
    plain = Net(classify_mean).double()
    for name in ("c1", "c2", "fc"):
        for kind in ("weight", "bias"):
            getattr(plain.get_submodule(name), kind).data = getattr(model.get_submodule(name), kind).detach()
    torch.testing.assert_close(plain(images), model(images))
    expected = expect(plain, [images], "c2")
    assert measured.relative_gap_flatness == pytest.approx(expected, rel=1e-8)
    assert found_again.relative_gap_flatness == pytest.approx(expected, rel=1e-8)


def test_what_is_merged_was_measured_alike() -> None:
    model = Net(classify_mean).double()
    head = find_head(model, draw())
    stds = [torch.full((6,), 2.0, dtype=torch.float64)]
    for own, other in (
        (GapFlatness(head, companions=["head_soft_rank"]), GapFlatness(head)),
        (GapFlatness(head, quantities=["block_traces"]), GapFlatness(head)),
        (GapFlatness(head, input_stds=stds), GapFlatness(head)),
        (GapFlatness(head, input_stds=stds), GapFlatness(head, input_stds=[2 * stds[0]])),
    ):
        with pytest.raises(DataError, match="merge: the other accumulator"):
            own.merge(other)
    GapFlatness(head, input_stds=stds).merge(GapFlatness(head, input_stds=[stds[0].clone()]))


def test_a_layer_under_the_models_own_autocast_is_measured_at_every_size() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return classify_mean(net, x).float()

    batches = [draw(size=8).float(), draw(size=10).float()]
    measured = measure(Net(forward), batches).relative_gap_flatness
    assert measured == pytest.approx(measure(Net(classify_mean), batches).relative_gap_flatness, rel=0.05)


def mix_if_dark(net: Net, x: Tensor) -> Tensor:
    maps = net.maps(x)
    return net.fc((maps + maps.sum(1, keepdim=True) if x.mean() < 0 else maps).mean((2, 3)))


def swap_if_dark(net: Net, x: Tensor) -> Tensor:
    maps = [net.maps(x), F.relu(net.c3(F.relu(net.c1(x))))]
    return net.out(torch.cat(maps[::-1] if x.mean() < 0 else maps, 1).mean((2, 3)))


def mix_by_a_relu(net: Net, x: Tensor) -> Tensor:
    maps = net.maps(x)
    is_open = (x.mean((1, 2, 3), keepdim=True) < 0).to(maps)
    return net.fc((maps + F.relu(maps.sum(1, keepdim=True) - 1e4 * (1 - is_open))).mean((2, 3)))


def scale_by_a_batch_norm(net: Net, x: Tensor) -> Tensor:
    maps = net.c2(F.relu(net.c1(x)))
    n, c, h, w = maps.shape
    is_open = (x.mean((1, 2, 3)) < 0).to(maps)[:, None]
    scale = 1 + F.relu(maps.mean((2, 3)).flip(1) - 1e4 * (1 - is_open))
    zeros, ones = maps.new_zeros(n * c), maps.new_ones(n * c)
    scaled = F.batch_norm(maps.reshape(1, n * c, h, w), zeros, ones, weight=scale.reshape(-1), eps=0.0)
    return net.fc(F.relu(scaled).reshape(n, c, h, w).mean((2, 3)))


@pytest.mark.parametrize("forward", [mix_if_dark, swap_if_dark, mix_by_a_relu, scale_by_a_batch_norm])
@pytest.mark.parametrize("knows_head", [False, True])
def test_later_images_that_take_another_way_through_the_tail(forward: Forward, knows_head: bool) -> None:
    model = Net(forward, c3=nn.Conv2d(6, 5, 3, padding=1), out=nn.Linear(10, 4)).double()
    bright, dark = draw(3) / 10 + 1, draw(4) / 10 - 1
    head = find_head(model, bright) if knows_head else None
    measured = measure(model, [dark] if knows_head else [bright, dark], head=head)
    assert len(measured.layers) == 1 + (forward is swap_if_dark)
    for layer in measured.layers:
        expected = expect(model, [dark] if knows_head else [bright, dark], layer.layer)
        assert layer.relative_flatness == pytest.approx(expected, rel=1e-8)


def use_twice(net: Net, x: Tensor) -> Tensor:
    maps = net.c2(F.relu(net.c1(x)))
    return net.out(torch.cat([F.relu(maps), F.relu(net.norm(maps))], 1).mean((2, 3)))


def test_a_channel_that_feeds_a_second_feature_for_later_images() -> None:
    """Every operation keeps channels apart, but one of two ways is shut by its kink while images are faint."""
    norm, out = nn.BatchNorm2d(5), nn.Linear(10, 4)
    nn.init.constant_(norm.running_mean, 10)
    out.weight.data *= 0.01
    model, images = Net(use_twice, norm=norm, out=out).double().eval(), draw(6)
    batches = [images[:3] * 0.01, images[3:] * 255]
    measured = measure(model, batches)
    assert measured.relative_gap_flatness == pytest.approx(expect(model, batches, "c2"), rel=1e-8)
    assert measured.method == "class_jacobians"
