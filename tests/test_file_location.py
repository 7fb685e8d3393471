"""Files at paths and at fsspec's URLs, told by one function."""

import fsspec
import pytest

from flatselect.file_location import find_size, open_whole


def test_a_files_size_is_found_wherever_it_lies(tmp_path):
    for location in (str(tmp_path / "file"), "memory://sizes/file"):
        assert find_size(location) is None
        with open_whole(location) as stream:
            stream.write(b"12345")
        assert find_size(location) == 5
    assert find_size(tmp_path) is None, "a folder is no file"
    fsspec.filesystem("memory").rm("/sizes", recursive=True)


def test_what_cannot_be_looked_at_is_an_os_error():
    with pytest.raises(OSError, match="nosuch"):
        find_size("nosuch://folder/file")
