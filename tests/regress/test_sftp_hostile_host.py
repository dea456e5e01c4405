"""What the host does to a partner's tree under a session: links and pipes in it, files that go away, no room left."""
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import pytest

from conftest import Instance, wait_for
from hostile import NOBODY_IS_BANNED, add_partner, sessions, tree, connect, instance, others_are_served_and_nothing_stays  # noqa: F401 (fixtures)
from ssh_wire import (CLOSE, EOF, EXTENDED, F_APPEND, F_CREAT, F_EXCL, F_READ, F_TRUNC, F_WRITE, FAILURE, FSETSTAT, FSTAT, LSTAT, MKDIR,
                      NO_SUCH_FILE, OK, OPEN, OPENDIR, PERMISSION_DENIED, READ, READDIR, READLINK, REMOVE, RENAME, RMDIR, SETSTAT, STAT, U64,
                      WRITE, Status, Wire, skip_attributes)


# ---------------------------------------------------------------- what the host does to the tree

class Links:
    """Links and other things that somebody on the host has put into a partner's tree."""

    def __init__(self, instance):
        self.tree = tree(instance)
        self.made = []
        other = tree(instance, "other")
        (other / "Shared" / "secret").write_bytes(b"of the other partner")
        self.secret = other / "Shared" / "secret"
        targets = {"to-passwd": "/etc/passwd", "to-other": "../../../other/tree/Shared", "to-secret": "../../../other/tree/Shared/secret",
                   "dangling": "nowhere", "to-itself": "to-itself", "to-root": "/", "to-inside": "real", "to-proc": "/proc/self/cwd"}
        for name, target in targets.items():
            self.plant("Shared", name, target)
        self.real = self.tree / "Shared" / "real"
        self.real.mkdir(mode=0o777, exist_ok=True)
        (self.real / "file").write_bytes(b"inside")
        self.names = sorted(targets)

    def plant(self, folder, name, target):
        path = self.tree / folder / name
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        self.made.append(path)
        return path

    def remove(self):
        for path in self.made:
            path.unlink(missing_ok=True)


@pytest.fixture
def links(instance):
    made = Links(instance)
    before = {p: os.readlink(p) for p in made.made}
    stat_before = os.stat("/etc/passwd")
    yield made
    after = {p: os.readlink(p) for p in made.made if p.is_symlink()}
    assert after == before, "no request has moved, replaced or removed a link"
    assert made.secret.read_bytes() == b"of the other partner"
    assert sorted(p.name for p in made.secret.parent.iterdir()) == ["secret"]
    assert os.stat("/etc/passwd")[:9] == stat_before[:9]
    made.remove()


NOT_THERE = (NO_SUCH_FILE, PERMISSION_DENIED, FAILURE)


def test_planted_links_are_not_there(instance, connect, links):
    sftp = connect().sftp()
    listed = sftp.list("/Shared")
    assert not set(links.names) & set(listed) and "real" in listed
    for name in links.names:
        path = f"/Shared/{name}"
        for request in ((OPEN, path, F_READ, 0), (OPEN, path, F_WRITE, 0), (OPEN, path, F_WRITE | F_CREAT, 0),
                        (OPEN, path, F_WRITE | F_CREAT | F_TRUNC, 0), (OPEN, path, F_WRITE | F_CREAT | F_EXCL, 0), (OPEN, path, F_APPEND | F_CREAT, 0),
                        (STAT, path), (LSTAT, path), (OPENDIR, path), (SETSTAT, path, 1, U64(0)), (SETSTAT, path, 4, 0o777),
                        (SETSTAT, path, 8, 1, 1), (EXTENDED, "lsetstat@openssh.com", path, 4, 0o777), (RMDIR, path), (REMOVE, path),
                        (MKDIR, path, 0), (RENAME, path, "/Shared/moved"), (RENAME, "/Shared/real", path),
                        (EXTENDED, "posix-rename@openssh.com", path, "/Shared/moved"),
                        (EXTENDED, "posix-rename@openssh.com", "/Shared/real/file", path),
                        (EXTENDED, "posix-rename@openssh.com", "/Shared/real", path), (EXTENDED, "statvfs@openssh.com", path),
                        (READLINK, path)):
            assert sftp.code(*request) in NOT_THERE, (path, request)
        for below in (f"{path}/passwd", f"{path}/secret", f"{path}/file", f"{path}/new"):
            for request in ((OPEN, below, F_READ, 0), (OPEN, below, F_WRITE | F_CREAT, 0), (STAT, below), (LSTAT, below), (OPENDIR, below),
                            (SETSTAT, below, 4, 0o777), (SETSTAT, below, 8, 1, 1), (MKDIR, below, 0), (RMDIR, below), (REMOVE, below),
                            (RENAME, below, "/Shared/moved"), (RENAME, "/Shared/real/file", below),
                            (EXTENDED, "posix-rename@openssh.com", "/Shared/real/file", below)):
                assert sftp.code(*request) in NOT_THERE, (below, request)
    assert sftp.get("/Shared/real/file") == b"inside", "and what is real works"
    assert "moved" not in sftp.list("/Shared")


def test_planted_links_in_incoming(instance, connect, links):
    """As files, as an object's folder, and as the name of an upload."""
    links.plant("Incoming", "Linked", "../../../other/tree/Shared")
    links.plant("Incoming/Users", "upload.part", "../../../../other/tree/Shared/secret")
    links.plant("Incoming/Users", "upload.csv", "/etc/passwd")
    links.plant("Outgoing", "Linked", "/etc")
    links.plant("Archive/Incoming", "Linked", "/etc")
    try:
        sftp = connect().sftp()
        for top in ("/Incoming", "/Outgoing", "/Archive/Incoming"):
            assert "Linked" not in sftp.list(top)
            for request in ((OPENDIR, f"{top}/Linked"), (STAT, f"{top}/Linked"), (OPEN, f"{top}/Linked/passwd", F_READ, 0),
                            (OPEN, f"{top}/Linked/secret", F_READ, 0), (REMOVE, f"{top}/Linked/secret"), (RENAME, f"{top}/Linked/secret", f"{top}/x"),
                            (OPEN, f"{top}/Linked/new", F_WRITE | F_CREAT | F_TRUNC, 0)):
                assert sftp.code(*request) in NOT_THERE, (top, request)
        assert not {"upload.csv", "upload.part"} & set(sftp.list("/Incoming/Users"))
        # An upload of the name goes its way and leaves the link alone, or is refused.
        for name in ("upload.csv", "upload.part"):
            path = f"/Incoming/Users/{name}"
            for request in ((OPEN, path, F_READ, 0), (STAT, path), (SETSTAT, path, 8, 1, 1), (SETSTAT, path, 1, U64(0)), (REMOVE, path),
                            (RENAME, path, "/Incoming/Users/other.csv")):
                assert sftp.code(*request) in NOT_THERE, (path, request)
            try:
                sftp.put(path, b"a,b\n")
            except Status as status:
                assert status.code in NOT_THERE
        # A broken upload of the name does not replace the link either.
        handle = sftp.open("/Incoming/Users/upload.part", F_WRITE | F_CREAT | F_TRUNC)
        sftp.write(handle, 100, b"a hole before it")
        assert sftp.code(CLOSE, handle) == FAILURE
        assert sftp.put("/Incoming/Users/good.csv", b"a,b\n") is None
    finally:
        for path in links.made[-5:]:
            # The upload's own name may be the partner's file now, which is a file of its own.
            assert path.is_symlink() or path.read_bytes() == b"a,b\n"
            path.unlink()
            links.made.remove(path)


def test_pipes_sockets_and_devices_are_not_there(instance, connect):
    shared = tree(instance) / "Shared"
    os.mkfifo(shared / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(shared / "socket"))
        if os.geteuid() == 0:
            os.mknod(shared / "null", 0o666 | 0o020000, os.makedev(1, 3))
        sftp = connect().sftp()
        assert not {"pipe", "socket", "null"} & set(sftp.list("/Shared"))
        for name in ("pipe", "socket", "null"):
            path = f"/Shared/{name}"
            start = time.monotonic()
            for request in ((OPEN, path, F_READ, 0), (OPEN, path, F_WRITE, 0), (OPEN, path, F_WRITE | F_CREAT | F_TRUNC, 0), (STAT, path), (REMOVE, path),
                            (OPENDIR, path), (SETSTAT, path, 4, 0o777), (RENAME, path, "/Shared/moved")):
                if name == "null" and os.geteuid() != 0 and request[0] == OPEN and request[2] & F_CREAT:
                    continue
                assert sftp.code(*request) in NOT_THERE, (path, request)
            assert time.monotonic() - start < 5, "a pipe without a writer holds nobody up"
    for name in ("pipe", "socket", "null"):
        (shared / name).unlink(missing_ok=True)


def test_a_file_that_goes_away_under_its_handle(instance, connect):
    sftp = connect().sftp()
    shared = tree(instance) / "Shared"
    sftp.put("/Shared/going", b"0123456789")
    handle = sftp.open("/Shared/going", F_READ | F_WRITE)
    (shared / "going").unlink()
    assert sftp.read(handle) == b"0123456789"
    sftp.write(handle, 10, b"more")
    size, _ = skip_attributes(sftp.ask(FSTAT, handle)[1])
    assert size == 14
    assert sftp.code(FSETSTAT, handle, 8, 1, 1) == OK
    assert sftp.code(STAT, "/Shared/going") == NO_SUCH_FILE
    assert sftp.code(CLOSE, handle) == OK
    # A file cut short by somebody else while it is read.
    sftp.put("/Shared/cut", b"x" * 100_000)
    handle = sftp.open("/Shared/cut")
    os.truncate(shared / "cut", 10)
    assert sftp.code(READ, handle, U64(50_000), 100) == EOF
    sftp.close(handle)
    # A folder removed while it is listed.
    sftp.ask(MKDIR, "/Shared/folder", 0)
    handle = sftp.opendir("/Shared/folder")
    (shared / "folder").rmdir()
    assert sftp.code(READDIR, handle) in (EOF, NO_SUCH_FILE, FAILURE, None)
    assert sftp.code(CLOSE, handle) == OK
    assert sftp.code(OPEN, "/Shared/folder/file", F_WRITE | F_CREAT, 0) == NO_SUCH_FILE


def test_an_upload_whose_staging_file_goes_away_is_not_acknowledged(instance, connect):
    sftp = connect().sftp()
    staging = instance.dir / "partners" / "acme" / "staging"
    handle = sftp.open("/Incoming/Users/stolen.csv", F_WRITE | F_CREAT | F_TRUNC)
    sftp.write(handle, 0, b"a,b\n" * 1000)
    taken = [p for p in staging.iterdir() if not p.name.endswith(".names")]
    assert len(taken) == 1
    taken[0].unlink()
    assert sftp.code(CLOSE, handle) == FAILURE, "no OK for what we do not have"
    sftp.put("/Incoming/Users/stolen.csv", b"a,b\n")
    assert [f["state"] for f in instance.items("files", "list") if f["name"] == "stolen.csv" and f["size"] == 4]


# ---------------------------------------------------------------- no room

def test_a_quota_that_is_full(instance, connect):
    key = add_partner(instance, "small", quota_bytes="1 MiB", quota_files="20")
    wire = connect(login=False).login("small", key)
    sftp = wire.sftp()
    handle = sftp.open("/Shared/large", F_WRITE | F_CREAT | F_TRUNC)
    written = 0
    with pytest.raises(Status) as refused:
        while written < 4 << 20:
            sftp.write(handle, written, b"x" * 32768)
            written += 32768
    assert written <= 1 << 20 and "quota" in refused.value.message.lower()
    assert sftp.code(WRITE, handle, U64(0), b"y" * 100) == OK, "what is there can be written over"
    assert sftp.code(FSETSTAT, handle, 1, U64(2 << 20)) == FAILURE
    sftp.close(handle)
    upload = sftp.open("/Incoming/Users/a.csv", F_WRITE | F_CREAT | F_TRUNC)
    with pytest.raises(Status) as refused:
        for at in range(0, 4 << 20, 32768):
            sftp.write(upload, at, b"x" * 32768)
    assert "quota" in refused.value.message.lower()
    assert sftp.code(CLOSE, upload) == 4, "what lacks a piece is not a file"
    sftp.ask(REMOVE, "/Shared/large")
    sftp.put("/Shared/fits", b"x" * 500_000)
    with pytest.raises(Status) as refused:
        for number in range(40):
            sftp.ask(MKDIR, f"/Shared/d{number}", 0)
    assert "quota" in refused.value.message.lower()


def test_a_removed_file_counts_for_as_long_as_anybody_has_it_open(instance, connect):
    key = add_partner(instance, "holder", quota_bytes="1 MiB")
    wires = [connect(login=False).login("holder", key) for _ in range(2)]
    holds, removes = (wire.sftp() for wire in wires)

    def fill(name):
        """How much was taken."""
        handle, written = removes.open(name, F_WRITE | F_CREAT | F_TRUNC), 0
        try:
            while written < 800_000:
                removes.write(handle, written, b"x" * 32_000)
                written += 32_000
        except Status as refused:
            assert "quota" in refused.message.lower()
        removes.close(handle)
        return written

    for ends in (False, True):
        assert fill("/Shared/large") == 800_000
        handle = holds.open("/Shared/large", F_READ)
        removes.ask(REMOVE, "/Shared/large")
        taken = fill("/Shared/beside")
        assert taken < 400_000, "what is left beside it, and a sixteenth that is told late"
        removes.ask(REMOVE, "/Shared/beside")
        if ends:
            wires[0].close()
        else:
            holds.close(handle)
        wait_for("what was held to be free again", lambda: fill("/Shared/beside") == 800_000)
        removes.ask(REMOVE, "/Shared/beside")


def test_a_quota_is_one_for_all_sessions_and_nothing_is_freed_twice(instance, connect):
    key = add_partner(instance, "several", quota_bytes="1 MiB")
    sessions = [connect(login=False).login("several", key).sftp() for _ in range(4)]
    handles = [sftp.open(f"/Shared/f{number}", F_WRITE | F_CREAT | F_TRUNC) for number, sftp in enumerate(sessions)]
    # Nobody has told of anything yet, and each was told that all of it is left.
    codes = [sftp.code(FSETSTAT, handle, 1, U64(1_000_000)) for sftp, handle in zip(sessions, handles)]
    assert sorted(codes) == [OK, FAILURE, FAILURE, FAILURE]
    for number, (sftp, handle) in enumerate(zip(sessions, handles)):
        sftp.close(handle)
        sftp.ask(REMOVE, f"/Shared/f{number}")
    sftp = sessions[0]
    for _ in range(5):
        handle = sftp.open("/Shared/f", F_WRITE | F_CREAT | F_TRUNC)
        assert sftp.code(FSETSTAT, handle, 1, U64(500_000)) == OK
        sftp.ask(REMOVE, "/Shared/f")
        assert sftp.code(FSETSTAT, handle, 1, U64(0)) == OK, "its bytes were given back with its name"
        sftp.close(handle)
    sftp.put("/Shared/half", b"x" * 600_000)
    handle = sftp.open("/Shared/more", F_WRITE | F_CREAT | F_TRUNC)
    assert sftp.code(FSETSTAT, handle, 1, U64(600_000)) == FAILURE


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_disk_that_is_full(others_are_served_and_nothing_stays):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sp-"))
    partners = directory / "partners"
    partners.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0711", "tmpfs", partners], capture_output=True, check=False)
    if mounted.returncode != 0:
        directory.rmdir() if not any(directory.iterdir()) else None
        pytest.skip("a container that refuses to mount")
    made = None
    try:
        made = InstanceAt(directory, "--shared", *NOBODY_IS_BANNED)
        wire = Wire(made).login()
        sftp = wire.sftp()
        handle = sftp.open("/Shared/large", F_WRITE | F_CREAT | F_TRUNC)
        upload = sftp.open("/Incoming/Users/a.csv", F_WRITE | F_CREAT | F_TRUNC)
        sftp.write(upload, 0, b"x" * 10_000)
        at = 0
        with pytest.raises(Status) as refused:
            while at < 16 << 20:
                sftp.write(handle, at, b"x" * 32768)
                at += 32768
        assert "space" in refused.value.message.lower(), refused.value.message
        with pytest.raises(Status) as refused:
            for number in range(200):
                sftp.write(upload, 10_000 + number * 4096, b"x" * 4096)
        assert "space" in refused.value.message.lower()
        # Reading, listing and removing go on; another session logs in; what was removed is room again.
        assert sftp.code(STAT, "/Shared/large") is None
        second = Wire(made).login()
        assert "large" in second.sftp().list("/Shared")
        second.close()
        sftp.code(CLOSE, handle)
        sftp.ask(REMOVE, "/Shared/large")
        sftp.close(sftp.open("/Shared/after", F_WRITE | F_CREAT))
        sftp.put("/Incoming/Users/b.csv", b"a,b\n" * 100)
        wire.close()
        wait_for("all sessions have ended", lambda: not sessions(made), 10)
    finally:
        if made:
            made.command("down", check=False)
        subprocess.run(["umount", partners], check=False)
        if made:
            made.down()


class InstanceAt(Instance):
    """An instance in a directory that is there already."""

    def __init__(self, directory, *options):
        self.dir = directory
        self.command("up", *options)
