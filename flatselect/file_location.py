"""Files on this machine or at an fsspec URL: read, written whole, told apart."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from flatselect.atomic_file import open_atomic

# They need no folders, and making one would make a bucket of a mistyped name.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci"}


def is_url(location: str) -> bool:
    """Whether this is an fsspec URL (`s3://bucket/folder`, `simplecache::s3://...`), not a path."""
    return "://" in location or "::" in location


def join_location(folder: str, *names: str) -> str:
    """A file in a folder, both paths or both URLs."""
    if is_url(folder):
        return "/".join([folder.rstrip("/"), *names])
    return str(Path(folder, *names))


def find_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it.

    Raises:
        OSError: No package here speaks its protocol, or the file system cannot be reached; the message says which.
    """
    protocol = url.partition("://")[0].rpartition("::")[2]
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise OSError(f"{error}; {protocol}:// needs a package of fsspec's that is not installed here") from error
    except Exception as error:
        raise _make_os_error(error) from error
    return filesystem, path


@contextlib.contextmanager
def open_whole(location: str | Path, *, make_folders: bool = False) -> Iterator[IO[bytes]]:
    """Opens a file for writing that is there, whole, once the block ends without an error.

    On a local path this is `open_atomic`. At a URL the file is sent in one piece when the block ends; an object store
    shows it whole or not at all.

    Args:
        location: A path or an fsspec URL.
        make_folders: Whether to make the folders above it that are missing.

    Yields:
        A binary stream that can be read back, too.

    Raises:
        OSError: It cannot be written.
    """
    filesystem, path = find_filesystem(location) if isinstance(location, str) and is_url(location) else (None, location)
    if filesystem is None or isinstance(filesystem, LocalFileSystem):
        with open_atomic(path, make_folders=make_folders) as file:
            yield file
        return
    stream = io.BytesIO()
    yield stream
    try:
        if make_folders and not _OBJECT_STORES.intersection(_list_protocols(filesystem)):
            filesystem.makedirs(filesystem._parent(path), exist_ok=True)
        filesystem.pipe_file(path, stream.getvalue())
    except Exception as error:
        raise _make_os_error(error) from error


def read_whole(location: str | Path) -> bytes:
    """The bytes of a file at a path or URL.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
    """
    if not (isinstance(location, str) and is_url(location)):
        return Path(location).read_bytes()
    filesystem, path = find_filesystem(location)
    try:
        content: bytes = filesystem.cat_file(path)
    except Exception as error:
        raise _make_os_error(error) from error
    return content


def find_size(location: str | Path) -> int | None:
    """The bytes of a file at a path or URL; None where there is no file.

    Raises:
        OSError: It cannot be looked at.
    """
    if not (isinstance(location, str) and is_url(location)):
        path = Path(location)
        return path.stat().st_size if path.is_file() else None
    filesystem, inner_path = find_filesystem(location)
    try:
        return int(filesystem.size(inner_path))
    except FileNotFoundError:
        return None
    except Exception as error:
        raise _make_os_error(error) from error


def delete_file(location: str) -> None:
    """Deletes a file that is there.

    Raises:
        OSError: It cannot be deleted.
    """
    if not is_url(location):
        Path(location).unlink()
        return
    filesystem, path = find_filesystem(location)
    try:
        filesystem.rm_file(path)
    except Exception as error:
        raise _make_os_error(error) from error


def _list_protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _make_os_error(error: Exception) -> OSError:
    """Each client library has exceptions of its own."""
    return error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}")
