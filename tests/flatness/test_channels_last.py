"""Images with channels last: only where that is quicker and the model allows it, and the same numbers."""

import pytest
import torch
from torch import Tensor, nn

from flatselect import measure
from flatselect.errors import ModelError

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


class Order(nn.Module):
    """Notes whether what passes has its channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.register_forward_hook(self.note)

    def forward(self, values: Tensor) -> Tensor:
        return values

    @staticmethod
    def note(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        NOTES.append(args[0].stride(1) == 1)


NOTES: list[bool] = []


@pytest.fixture(autouse=True)
def no_notes():
    NOTES.clear()


def make_network(n_channels: int, middle: nn.Module, width: int = 16) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(n_channels, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        middle,
        nn.Conv2d(width, 24, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 5),
    )


@needs_onednn
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_same_numbers_in_the_order_of_the_type(n_channels, dtype, monkeypatch):
    model = make_network(n_channels, Order()).to(dtype)
    images = torch.randn(40, n_channels, 12, 12, dtype=dtype)
    found = measure(model, images.split(20), per_image=True)
    assert NOTES[-2:] == [dtype != torch.float64] * 2
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    expected = measure(model, images.split(20), per_image=True)
    assert NOTES[-2:] == [False, False]
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.05, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(found.per_image_flatness, expected.per_image_flatness, rtol=tolerance, atol=0)
    for name, value in expected.companions.items():
        assert found.companions[name] == pytest.approx(value, rel=max(tolerance, 1e-4), abs=1e-4), name


@needs_onednn
def test_convolutions_on_small_maps_are_given_them_contiguous():
    """A kernel row of 144 weights is moved for 1 position; for 36 it is worth it."""
    last = nn.Conv2d(16, 16, 3, padding=1, stride=4)
    order = Order()
    last.register_forward_hook(Order.note)
    model = make_network(3, nn.Sequential(order, last))
    measure(model, torch.randn(8, 3, 12, 12))
    assert NOTES[-2:] == [True, True]
    measure(model, torch.randn(8, 3, 6, 6))
    assert NOTES[-2:] == [True, False]


@needs_onednn
def test_group_norms_are_given_contiguous_maps():
    """PyTorch's for channels last squares activations before it takes their mean off, of which little would be left."""
    model = make_network(3, nn.Sequential(Order(), nn.GroupNorm(4, 16)))
    model[0].bias.data += 300
    images = torch.randn(8, 3, 12, 12)
    found = measure(model, images)
    assert NOTES[-1]
    assert found.relative_gap_flatness == pytest.approx(measure(model.double(), images).relative_gap_flatness, rel=1e-4)


class ViewedByImage(nn.Module):
    """Flattens its maps by `view`, which channels that come last do not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last, self.fc = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1), nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        shape = maps.shape
        rows = maps.view(len(maps), -1).relu()
        return self.fc(self.last(rows.view(shape)).relu().mean((2, 3)))


def test_model_that_wants_its_maps_contiguous_gets_them():
    torch.manual_seed(1)
    model, images = ViewedByImage(), torch.randn(12, 3, 8, 8)
    found = measure(model, images.split(4), per_image=True)
    expected = measure(model.double(), images, per_image=True)
    torch.testing.assert_close(found.per_image_flatness, expected.per_image_flatness, rtol=1e-5, atol=0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_model_that_fails_on_later_images_says_on_which():
    class Fails(ViewedByImage):
        def forward(self, images: Tensor) -> Tensor:
            if bool((images > 99).any()):
                raise ValueError("too bright")
            return super().forward(images)

    images = torch.randn(8, 3, 8, 8)
    images[5] += 1000
    with pytest.raises(ModelError, match=r"fails on images of shape \(4, 3, 8, 8\).*too bright"):
        measure(Fails(), images.split(4))


@needs_onednn
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler's own looking
def test_model_compiled_in_part_gets_images_as_they_are():
    """For another order it would be compiled again."""
    part = nn.Sequential(nn.Conv2d(16, 16, 3), nn.ReLU())
    part.compile(backend="eager")
    model = make_network(3, nn.Sequential(Order(), part))
    measure(model, torch.randn(8, 3, 12, 12))
    assert not any(NOTES)
