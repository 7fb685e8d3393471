import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from flatselect.flatness.matrix_products import multiply_channels, multiply_rows


def find_operation(n_rows: int, dtype: torch.dtype) -> str:
    rows, matrix = torch.ones(n_rows, 7, dtype=dtype), torch.ones(3, 7, dtype=dtype)
    with FlopCounterMode(display=False) as counter:
        multiply_rows(rows, matrix)
    (operation,) = counter.get_flop_counts()["Global"]
    return str(operation)


# 1,021 is a prime, 134 is 2·67, 576 is 64 images of ten classes but one.
@pytest.mark.parametrize("n_rows", [0, 1, 15, 127, 128, 134, 576, 1021, 1024])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_the_product(n_rows: int, dtype: torch.dtype) -> None:
    torch.manual_seed(n_rows)
    wide, matrix = torch.randn(n_rows, 300, dtype=dtype), torch.randn(40, 200, dtype=dtype)
    rows = wide[:, 50:250]  # columns of a larger array
    expected = torch.einsum("rk,ck->rc", rows.double(), matrix.double())
    product = multiply_rows(rows, matrix)
    assert product.shape == (n_rows, 40)
    assert product.dtype == dtype
    torch.testing.assert_close(product.double(), expected, rtol=0, atol=2e-14 if dtype == torch.float64 else 1e-4)


def test_is_a_convolution_where_that_is_faster() -> None:
    assert find_operation(576, torch.float32) == "aten.convolution"
    assert find_operation(576, torch.float64) == "aten.mm"  # oneDNN has no double precision
    assert find_operation(127, torch.float32) == "aten.mm"  # few rows
    assert find_operation(1021, torch.float32) == "aten.mm"  # no images of equal size


@pytest.mark.parametrize("n_images", [0, 1, 15, 16, 40])
@pytest.mark.parametrize("n_positions", [0, 1, 4, 23, 24, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_the_product_with_every_map(n_images: int, n_positions: int, dtype: torch.dtype) -> None:
    torch.manual_seed(n_images + n_positions)
    matrix, maps = torch.randn(30, 24, dtype=dtype), torch.randn(n_images, 24, n_positions, dtype=dtype)
    expected = torch.einsum("jk,nkp->njp", matrix.double(), maps.double())
    product = multiply_channels(matrix, maps)
    assert product.shape == (n_images, 30, n_positions)
    assert product.dtype == dtype
    torch.testing.assert_close(product.double(), expected, rtol=0, atol=2e-14 if dtype == torch.float64 else 2e-5)
    with FlopCounterMode(display=False) as counter:
        multiply_channels(matrix, maps)
    is_convolution = dtype == torch.float32 and n_images >= 16 and 0 < n_positions < 24
    assert ("aten.convolution" in map(str, counter.get_flop_counts()["Global"])) == is_convolution


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # of the flags themselves
def test_needs_no_onednn() -> None:
    torch.manual_seed(0)
    rows, matrix = torch.randn(576, 64), torch.randn(32, 64)
    with torch.backends.mkldnn.flags(enabled=False):
        torch.testing.assert_close(multiply_rows(rows, matrix), rows @ matrix.mT)


def test_result_can_be_worked_on_in_place() -> None:
    rows, matrix = torch.ones(256, 4), torch.ones(2, 4)
    product = multiply_rows(rows, matrix)
    product *= 2
    assert product.eq(8).all()
    assert rows.eq(1).all()
    assert matrix.eq(1).all()
