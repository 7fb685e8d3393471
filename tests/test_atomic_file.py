"""Files written whole or not at all, with the rights that any other program would give them."""

import errno
import os
import stat

import pytest

from flatselect.atomic_file import open_atomic


def write(path, content=b"new", **options):
    with open_atomic(path, **options) as stream:
        stream.write(content)


def find_mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def list_names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def set_umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("old", [None, b"old"])
def test_replaces_what_is_there(tmp_path, old):
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    write(path)
    assert path.read_bytes() == b"new"
    assert list_names(tmp_path) == ["file"]


def test_nothing_is_in_its_place_before_the_end(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with open_atomic(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
        stream.seek(0)
        assert stream.read() == b"new"


@pytest.mark.parametrize("error", [ValueError("half-way"), OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_half_way_leaves_what_was_there_and_nothing_else(tmp_path, error, old):
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)

    def fail():
        with open_atomic(path) as stream:
            stream.write(b"ne")
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert raised.value is error
    assert list_names(tmp_path) == ([] if old is None else ["file"])
    assert old is None or path.read_bytes() == old


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")  # noqa: PTH110
def test_a_disk_that_fills_up_at_the_last_flush(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fill_up():
        with open_atomic(path) as stream:
            full = os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, stream.fileno())
            os.close(full)
            stream.write(b"new")  # buffered: only the flush after the block meets the disk

    with pytest.raises(OSError, match="No space left") as raised:
        fill_up()
    assert raised.value.errno == errno.ENOSPC
    assert (list_names(tmp_path), path.read_bytes()) == (["file"], b"old")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_rights_of_any_new_file(tmp_path, set_umask, umask, mode):
    set_umask(umask)
    write(tmp_path / "file")
    (tmp_path / "other").write_bytes(b"")
    assert find_mode(tmp_path / "file") == find_mode(tmp_path / "other") == mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_replaced_file_keeps_its_rights(tmp_path, set_umask, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    with open_atomic(path):
        (temporary,) = set(tmp_path.iterdir()) - {path}
        assert find_mode(temporary) == mode  # from the first byte on, or secrets could be read meanwhile
    assert find_mode(path) == mode


def test_a_link_stays_and_the_file_it_points_to_is_replaced(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    target, link, chain = tmp_path / "there" / "file", tmp_path / "here" / "link", tmp_path / "here" / "chain"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to("../there/file")
    chain.symlink_to("link")
    write(chain)
    assert link.is_symlink()
    assert chain.is_symlink()
    assert (target.read_bytes(), find_mode(target)) == (b"new", 0o640)
    assert (list_names(tmp_path / "here"), list_names(tmp_path / "there")) == (["chain", "link"], ["file"])


def test_a_link_to_nothing_makes_the_file(tmp_path):
    (tmp_path / "link").symlink_to("absent")
    write(tmp_path / "link")
    assert (tmp_path / "absent").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


def test_links_in_a_circle_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        write(tmp_path / "a")
    assert list_names(tmp_path) == ["a", "b"]


def test_folders_are_made_where_that_is_asked_for(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    with pytest.raises(FileNotFoundError):
        write(path)
    assert list_names(tmp_path) == []
    write(path, make_folders=True)
    assert path.read_bytes() == b"new"


def test_what_is_no_file_is_never_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(OSError, match="not a regular file"):
            write(tmp_path / name)
    with pytest.raises(OSError, match="not a regular file"):
        write(os.devnull)
    assert list_names(tmp_path) == ["folder", "pipe"]


def test_the_longest_of_names(tmp_path):
    path = tmp_path / ("n" * 255)
    write(path)
    assert path.read_bytes() == b"new"
