"""Passes that wait to be reduced together give what each gives alone."""

import pytest
import torch
import torch.nn.functional as F
from cases import make_case
from torch import Tensor, nn

from flatselect import measure
from flatselect.errors import NonFiniteError
from flatselect.flatness import GapFlatness, accumulation, find_head, reference_by_gradients
from flatselect.flatness.folded_gram import FoldedGram
from flatselect.flatness.head import Head
from flatselect.flatness.tail import run_tail
from flatselect.flatness.tail_reduction import TailReduction


@pytest.fixture
def reductions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The images of each reduction, as they come."""
    seen: list[int] = []
    reduce = TailReduction.reduce

    def note(self: TailReduction, record, *args):  # type: ignore[no-untyped-def]
        seen.append(len(record.logits))
        return reduce(self, record, *args)

    monkeypatch.setattr(TailReduction, "reduce", note)
    return seen


def update(total: GapFlatness, model: nn.Module, head: Head, images: Tensor) -> None:
    total.update(run_tail(model, [layer.module for layer in head.layers], head.classifier, images, []))


@pytest.mark.parametrize(
    "name", ["conv_bn_relu", "residual", "parallel", "dense", "log_softmax_in_model", "two_classes"]
)
def test_small_batches_are_reduced_together(name: str, reductions: list[int]) -> None:
    model, images, _ = make_case(name)
    images = torch.cat([images, images.flip(0), images.flip(-1)])
    batches = list(images.split(2))
    together = measure(model, batches, per_image=True)
    assert reductions == [len(images)]
    alone = [measure(model, batch, per_image=True) for batch in batches]
    for name in ("per_image_flatness", "per_image_trace"):
        found = getattr(together, name)
        torch.testing.assert_close(found, torch.cat([getattr(one, name) for one in alone]), rtol=1e-12, atol=0)


def test_no_more_waits_than_the_limit(reductions: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, _ = make_case("residual")
    expected = measure(model, images)
    record = TailReduction.record
    sizes: list[int] = []

    def note(self, tail):  # type: ignore[no-untyped-def]
        found = record(self, tail)
        sizes.append(sum(tensor.numel() for tensor in found.tensors))
        return found

    monkeypatch.setattr(TailReduction, "record", note)
    measure(model, images, batch_size=1)
    reductions.clear()
    monkeypatch.setattr(accumulation, "_WAITING_ELEMENTS", 2 * sizes[0])
    assert measure(model, images, batch_size=1).relative_gap_flatness == pytest.approx(expected.relative_gap_flatness)
    assert set(reductions[:-1]) == {2}


def test_images_of_another_size_do_not_wait_with_the_others(reductions: list[int]) -> None:
    model, images, _ = make_case("residual")
    batches = [images[:1], images[1:2], images[..., :-2, :-2], images[2:]]
    measured = measure(model, batches, per_image=True)
    assert reductions == [2, len(images), len(images) - 2]
    alone = torch.cat([measure(model, batch, per_image=True).per_image_flatness for batch in batches])
    torch.testing.assert_close(measured.per_image_flatness, alone, rtol=1e-12, atol=0)


class GatedByBrightness(nn.Module):
    """A tail that mixes channels for bright images only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 6, 3, bias=False), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        squeezed = y.mean((1, 2, 3), keepdim=True)
        return self.fc((F.relu(y) * F.hardsigmoid(50 * (squeezed - 1))).mean((2, 3)) + F.relu(y).mean((2, 3)))


def test_images_that_wait_keep_their_place_when_the_closed_form_ends(reductions: list[int]) -> None:
    torch.manual_seed(0)
    model = GatedByBrightness().double()
    model.conv.weight.data.abs_()
    dark, bright = 0.1 * torch.rand(5, 1, 6, 6, dtype=torch.float64), torch.rand(3, 1, 6, 6, dtype=torch.float64)
    images = torch.cat([dark, bright, dark])
    # As bright as half opens the gate: there it moves with every channel.
    bright *= 1 / model.conv(bright).mean((1, 2, 3))[:, None, None, None]
    images[5:8] = bright
    head = find_head(model, dark)
    assert head.layers[0].method == "closed_form"
    measured = measure(model, images, head=head, batch_size=1, per_image=True)
    assert (measured.method, measured.exactness) == ("class_jacobians", "gauss_newton")
    assert reductions[0] == 5  # the dark ones waited
    assert measured.per_image_flatness is not None
    for i, found in enumerate(measured.per_image_flatness.tolist()):
        expected = reference_by_gradients(model, images[i : i + 1], "conv")
        assert found == pytest.approx(expected.gauss_newton_flatness, rel=1e-9)


def test_what_waits_is_counted_and_checked() -> None:
    model, images, _ = make_case("residual")
    model.eval()
    head = find_head(model, images)
    total = GapFlatness(head)
    for image in images.split(1):
        update(total, model, head, image)
    assert total.n_images == len(images)
    expected = measure(model, images)
    assert total.relative_error() == pytest.approx(expected.standard_error / expected.relative_gap_flatness)
    spoilt = images.clone()
    spoilt[1] = torch.nan
    total = GapFlatness(head)
    for image in spoilt.split(1):
        update(total, model, head, image)
    with pytest.raises(NonFiniteError, match="the input of layer"):
        total.compute()


class ReusesItsOutput(nn.Module):
    """Writes every batch's logits to the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.logits = torch.zeros(2, 4, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.relu(self.conv(x)).mean((2, 3))
        if len(pooled) != len(self.logits):
            return pooled
        if pooled.requires_grad:
            self.logits.data.copy_(pooled.data)
            return pooled.add(0)
        return self.logits.copy_(pooled)


def test_a_model_may_use_its_output_again() -> None:
    torch.manual_seed(0)
    model = ReusesItsOutput().double()
    images = torch.randn(6, 1, 6, 6, dtype=torch.float64)
    measured = measure(model, list(images.split(2)), per_image=True)
    alone = torch.cat([measure(model, pair, per_image=True).per_image_flatness for pair in images.split(2)])
    torch.testing.assert_close(measured.per_image_flatness, alone, rtol=1e-12, atol=0)


@pytest.mark.parametrize("n_rows", [1, 127, 128, 129, 300, 1100])
def test_folded_gram(n_rows: int) -> None:
    torch.manual_seed(n_rows)
    rows, vector = torch.randn(n_rows, 3, dtype=torch.float64), torch.randn(n_rows, dtype=torch.float64)
    gram, folded = rows @ rows.mT, FoldedGram(rows)
    torch.testing.assert_close(folded.unfold(), gram)
    torch.testing.assert_close(folded.diagonal, gram.diagonal())
    quadratic = sum(vector[columns] @ block @ vector[: columns.stop] for columns, block in folded)
    torch.testing.assert_close(quadratic, vector @ gram @ vector)
    assert [columns.start for columns, _ in folded] == list(range(0, n_rows, folded.block_size))
