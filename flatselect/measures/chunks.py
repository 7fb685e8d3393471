"""Cutting a set of images into pieces that fit in memory."""

# Numbers held at once while a set is reduced: 32 MiB in float64. Products of matrices of this size are as fast as
# larger ones.
CHUNK_ELEMENTS = 2**22


def iterate_chunks(n_images: int, n_elements: int, n_held: int | None = None) -> list[slice]:
    """Cuts a set so that at most `n_held` numbers are held at once, `n_elements` an image; at least one image.

    By default `CHUNK_ELEMENTS` are held. The pieces are about equal, so that no call is spent on a few images.
    """
    largest = max(1, (n_held or CHUNK_ELEMENTS) // max(1, n_elements))
    n_chunks = -(-n_images // largest)
    return [slice(i * n_images // n_chunks, (i + 1) * n_images // n_chunks) for i in range(n_chunks)]
