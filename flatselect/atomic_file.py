"""A file that is written whole or not at all."""

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def open_atomic(path: str | os.PathLike[str], *, make_folders: bool = False) -> Iterator[io.BufferedRandom]:
    """Opens a file for writing that takes the place of `path`, in one step, when the block ends without an error.

    What is written lies beside `path` until then and is flushed to the disk first: a reader, or a machine that loses
    power, sees the old file or the new one, never a part of either. After an error the old file is as it was, and
    nothing else is left. The new file's rights are the old one's, or what `open(path, "w")` would give it. A link
    stays: the file that it points to is replaced.

    Args:
        path: The file; no device, pipe or folder, which cannot be replaced.
        make_folders: Whether to make the folders above it that are missing.

    Yields:
        A binary stream that can be read back, too.

    Raises:
        OSError: It cannot be written (missing rights, a missing folder, a full disk).
    """
    mode = _find_mode(path)
    # The link's own folder may be on another disk, or not ours to write in.
    target = Path(os.path.realpath(path))
    if make_folders:
        target.parent.mkdir(parents=True, exist_ok=True)
    # Short, as the name of the target may be as long as names can be.
    temporary = target.with_name(f".flatselect-{secrets.token_hex(8)}")
    try:
        # Not of `tempfile`, whose files none but their owner can read.
        with temporary.open("x+b") as stream:
            if mode is not None and mode != stat.S_IMODE(temporary.stat().st_mode):
                temporary.chmod(mode)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _find_mode(path: str | os.PathLike[str]) -> int | None:
    """The rights of the file that is there; None if there is none."""
    try:
        # Of the path as it is: that of a pipe in /dev/fd resolves to no file.
        found = Path(path).stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return stat.S_IMODE(found)
