import numpy as np
import pytest
import torch
from PIL import Image

from flatselect.data.normalization import compute_mean_std, match_channels, normalize_images
from flatselect.data.resizing import resize_images
from flatselect.errors import DataError

IMAGES = torch.randint(0, 256, (50, 3, 6, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_mean_and_std_are_those_of_all_pixels():
    mean, std = compute_mean_std(IMAGES.split(7))
    pixels = IMAGES.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-12)


def test_a_channel_that_never_changes_is_only_centred():
    images = IMAGES.clone()
    images[:, 1] = 51
    mean, std = compute_mean_std([images])
    assert mean[1] == pytest.approx(0.2)
    assert std[1] == 1
    assert normalize_images(images, mean, std)[:, 1].abs().max() < 1e-6


def test_uint8_is_scaled_and_normalised():
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    expected = (IMAGES.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    normalised = normalize_images(IMAGES, mean, std)
    assert normalised.dtype == torch.float32
    torch.testing.assert_close(normalised.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(normalize_images(IMAGES, None, None), IMAGES / 255)


def test_floats_are_taken_as_they_are():
    floats = torch.randn(4, 3, 2, 2)
    assert torch.equal(normalize_images(floats, (0.5,) * 3, (0.5,) * 3), floats)


def test_one_value_serves_all_channels():
    assert match_channels([0.5], 3, "data.mean") == (0.5, 0.5, 0.5)
    assert match_channels([0.1, 0.2, 0.3], 3, "data.mean") == (0.1, 0.2, 0.3)
    with pytest.raises(DataError, match=r"data\.mean has 2 values; expected 1 or 3"):
        match_channels([0.1, 0.2], 3, "data.mean")


@pytest.mark.parametrize("size", [4, 20])
def test_resizing_agrees_with_pil(size):
    images = torch.randint(0, 256, (3, 1, 11, 9), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    resized = resize_images(images, size)
    assert resized.dtype == torch.uint8
    for image, result in zip(images, resized, strict=True):
        expected = np.array(Image.fromarray(image[0].numpy()).resize((size, size), Image.Resampling.BILINEAR))
        assert np.abs(result[0].numpy().astype(int) - expected.astype(int)).max() <= 1
    floats = resize_images(images / 255, size)
    torch.testing.assert_close(floats, resized / 255, atol=0.5 / 255 + 1e-6, rtol=0)
