import numpy as np
import pytest
import torch

from flatselect.data.augmentation import RandomMoves
from flatselect.errors import DataError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def move_one_image(image, flipped, down, right):
    """The same by numpy's own padding: (channels, height, width)."""
    height, width = image.shape[1:]
    rows, columns = height // 8, width // 8
    if flipped:
        image = image[:, :, ::-1]
    padded = np.pad(image, ((0, 0), (rows, rows), (columns, columns)), mode="reflect")
    top, left = rows - down, columns - right
    return padded[:, top : top + height, left : left + width]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(3, 32, 24), (1, 8, 8), (2, 9, 17)])
@pytest.mark.parametrize("augmentation", ["flip", "shift", "flip+shift"])
def test_moves_are_those_of_padding_and_cropping(augmentation, shape, dtype):
    images = torch.randint(0, 256, (40, *shape), generator=generator(1)).to(dtype)
    moves = RandomMoves.draw(augmentation, 40, *shape[1:], generator(2))
    moved = moves.apply(images, torch.arange(40))
    for i in range(40):
        expected = move_one_image(images[i].numpy(), moves.flipped[i], int(moves.down[i]), int(moves.right[i]))
        np.testing.assert_array_equal(moved[i].numpy(), expected)
    assert moved.dtype == dtype


def test_every_allowed_move_is_drawn_and_no_other():
    moves = RandomMoves.draw("flip+shift", 5000, 32, 16, generator())
    assert sorted(set(moves.down.tolist())) == list(range(-4, 5))
    assert sorted(set(moves.right.tolist())) == list(range(-2, 3))
    assert 0.45 < moves.flipped.float().mean() < 0.55
    assert not RandomMoves.draw("shift", 50, 32, 32, generator()).flipped.any()
    assert not RandomMoves.draw("flip", 50, 32, 32, generator()).down.any()


def test_an_images_move_does_not_depend_on_its_batch():
    images = torch.rand(10, 3, 16, 16, generator=generator())
    moves = RandomMoves.draw("flip+shift", 10, 16, 16, generator())
    whole = moves.apply(images, torch.arange(10))
    order = torch.tensor([7, 2, 9])
    assert torch.equal(moves.apply(images[order], order), whole[order])


def test_images_too_small_to_shift_stay():
    images = torch.rand(6, 1, 7, 1)
    moves = RandomMoves.draw("shift", 6, 7, 1, generator())
    assert torch.equal(moves.apply(images, torch.arange(6)), images)


def test_unknown_augmentation_is_refused():
    with pytest.raises(DataError, match=r"'flop'.*none, flip, shift, flip\+shift"):
        RandomMoves.draw("flop", 3, 8, 8, generator())
