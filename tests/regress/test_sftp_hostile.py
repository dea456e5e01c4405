"""SFTP requests that no client would send, over the wire, against a running instance: each gets the right answer, the
server goes on serving others, and no session process stays behind."""
import os
import time

import pytest

from conftest import wait_for
from hostile import sessions, tree, connect, instance, others_are_served_and_nothing_stays  # noqa: F401 (fixtures)
from ssh_wire import (BAD_MESSAGE, CHANNEL_CLOSE, CHANNEL_DATA, CHANNEL_EOF, CHANNEL_OPEN_CONFIRMATION, CHANNEL_REQUEST, CHANNEL_SUCCESS,
                      CHANNEL_WINDOW_ADJUST, CLOSE, DATA, EOF, EXTENDED, F_CREAT, F_READ, F_TRUNC, F_WRITE, FAILURE, FSETSTAT, FSTAT, HANDLE,
                      INIT, LSTAT, MKDIR, NO_SUCH_FILE, OK, OPEN, OPENDIR, PERMISSION_DENIED, READ, READDIR, READLINK, REALPATH, REMOVE,
                      RENAME, RMDIR, SETSTAT, STAT, SYMLINK, U64, UNSUPPORTED, WRITE, Gone, Raw, Status, Wire, packed, skip_attributes)


# ---------------------------------------------------------------- handles, numbers, lengths

def test_handles_of_others_closed_ones_and_garbage(instance, connect):
    sftp = connect().sftp()
    elsewhere = Wire(instance).login("other", instance.other_key)
    theirs = elsewhere.sftp()
    theirs.put("/Shared/secret", b"of the other partner")
    foreign = theirs.open("/Shared/secret")
    closed = sftp.open("/Shared/closed", F_WRITE | F_CREAT)
    sftp.close(closed)
    folder = sftp.opendir("/Shared")
    writing = sftp.open("/Shared/closed", F_WRITE)
    reading = sftp.open("/Shared/closed", F_READ)
    bad = [closed, b"", b"\0", b"\0" * 8, b"\xff" * 8, b"A" * 255, b"A" * 200_000, writing[:4], writing + b"\0",
           bytes([writing[0] ^ 1]) + writing[1:], writing[:4] + b"\xff" * 4]
    for handle in bad:
        for request in ((CLOSE, handle), (READ, handle, U64(0), 10), (WRITE, handle, U64(0), b"x"), (FSTAT, handle), (READDIR, handle),
                        (FSETSTAT, handle, 0), (EXTENDED, "fsync@openssh.com", handle), (EXTENDED, "fstatvfs@openssh.com", handle),
                        (EXTENDED, "copy-data", handle, U64(0), U64(0), writing, U64(0))):
            assert sftp.code(*request) == FAILURE, (handle[:20], request[0])
    # Another partner's handle may be a number of ours, but never names what the other has open.
    if sftp.code(FSTAT, foreign) is None:
        assert sftp.code(READ, foreign, U64(0), 100) != OK
        with pytest.raises(Status):
            assert b"other partner" not in sftp.read(foreign)
            raise Status(FAILURE, "it was another file")
    # The right number for the wrong thing.
    assert sftp.code(READ, folder, U64(0), 10) in (PERMISSION_DENIED, FAILURE)
    assert sftp.code(WRITE, folder, U64(0), b"x") in (PERMISSION_DENIED, FAILURE)
    assert sftp.code(READDIR, writing) == FAILURE
    assert sftp.code(READ, writing, U64(0), 10) == PERMISSION_DENIED
    assert sftp.code(WRITE, reading, U64(0), b"x") == PERMISSION_DENIED
    assert sftp.code(FSETSTAT, reading, 1, U64(0)) == PERMISSION_DENIED
    sftp.close(writing)
    assert sftp.code(CLOSE, writing) == FAILURE, "a handle is closed once"
    assert theirs.get("/Shared/secret") == b"of the other partner"
    elsewhere.close()


@pytest.mark.parametrize("area", ["/Shared", "/Incoming/Users"])
def test_offsets_near_the_end_of_the_world(instance, connect, area):
    sftp = connect().sftp()
    path = f"{area}/far-{time.monotonic_ns()}.part"
    handle = sftp.open(path, F_READ | F_WRITE | F_CREAT | F_TRUNC)
    sftp.write(handle, 0, b"begin")
    for offset in (2**62, 2**63 - 1, 2**63 - 4, 2**63, 2**63 + 1, 2**64 - 1, 2**64 - 5):
        assert sftp.code(WRITE, handle, U64(offset), b"hello") == FAILURE, offset
        assert sftp.code(WRITE, handle, U64(offset), b"x" * 200_000) == FAILURE, offset
        assert sftp.code(READ, handle, U64(offset), 10) == EOF, offset
        assert sftp.code(READ, handle, U64(offset), 2**32 - 1) == EOF, offset
        assert sftp.code(FSETSTAT, handle, 1, U64(offset)) == FAILURE, offset
        assert sftp.code(SETSTAT, path, 1, U64(offset)) == FAILURE, offset
    size, _ = skip_attributes(sftp.ask(FSTAT, handle)[1])
    assert size == 5
    copy = sftp.open(f"{path}.tmp", F_READ | F_WRITE | F_CREAT | F_TRUNC)
    for source, length, target in ((0, 2**64 - 1, 2**64 - 1), (0, 5, 2**63 - 2), (0, 0, 2**62)):
        assert sftp.code(EXTENDED, "copy-data", handle, U64(source), U64(length), copy, U64(target)) == FAILURE
    assert sftp.code(EXTENDED, "copy-data", handle, U64(2**64 - 1), U64(2**64 - 1), copy, U64(0)) == OK, "there is nothing to copy there"
    size, _ = skip_attributes(sftp.ask(FSTAT, copy)[1])
    assert size == 0
    # A file of which something was refused is whole where it was written in place, and a partial where it is handed in.
    for written in (handle, copy):
        assert sftp.code(CLOSE, written) == (OK if area == "/Shared" else FAILURE)
    assert sftp.code(REMOVE, path) == sftp.code(REMOVE, f"{path}.tmp") == OK


def test_zero_and_maximal_lengths(instance, connect):
    sftp = connect().sftp()
    sftp.put("/Shared/lengths", b"0123456789")
    handle = sftp.open("/Shared/lengths", F_READ | F_WRITE)
    kind, message = sftp.ask(READ, handle, U64(0), 0)
    assert kind == DATA and message.get_binary() == b""
    kind, message = sftp.ask(READ, handle, U64(0), 2**32 - 1)
    assert kind == DATA and message.get_binary() == b"0123456789"
    assert sftp.code(WRITE, handle, U64(3), b"") == OK
    assert sftp.code(WRITE, handle, U64(2**63), b"") == OK, "nothing at all fits anywhere"
    largest = b"x" * (256 * 1024 - 1024)
    sftp.write(handle, 0, largest)
    assert sftp.code(STAT, "") is None, "the empty path is the start directory"
    assert sftp.code(STAT, "/" * 4096) is None
    assert sftp.code(STAT, "/" * 4097) == FAILURE
    assert sftp.code(STAT, "/Shared/" + "n" * 255) == NO_SUCH_FILE
    assert sftp.code(STAT, "/Shared/" + "n" * 256) == FAILURE
    assert sftp.code(STAT, "/".join(["/Shared"] + ["d" * 100] * 60)) == FAILURE
    assert sftp.code(EXTENDED, "x" * 200_000, b"y" * 1000) == UNSUPPORTED
    assert sftp.code(EXTENDED, "users-groups-by-id@openssh.com", b"\0" * 4 * 20_000, b"\1" * 4 * 10_000) is None
    assert sftp.code(EXTENDED, "users-groups-by-id@openssh.com", b"\0" * 7, b"\1") in (None, BAD_MESSAGE)
    sftp.close(handle)


@pytest.mark.parametrize("length", [0, 256 * 1024 + 1, 2**31, 2**32 - 1])
def test_a_packet_of_an_impossible_length_ends_the_channel_alone(instance, connect, length):
    wire = connect()
    sftp, beside = wire.sftp(), wire.sftp()
    sftp.raw(packed(length) + b"\x10" * 100)
    assert sftp.reply() is None
    assert beside.list("/") == ["Archive", "Incoming", "Outgoing", "Shared"]


def test_strings_longer_than_their_packet(instance, connect):
    sftp = connect().sftp()
    handle = sftp.open("/Shared/strings", F_WRITE | F_CREAT)
    attributes_beyond = packed(0x80000000, 2**32 - 1)
    for request in ((OPEN, Raw(packed(2**32 - 1) + b"/Shared/x")), (OPEN, Raw(packed(100) + b"/Shared/x")), (OPEN, "/Shared/x"),
                    (OPEN, "/Shared/x", F_WRITE | F_CREAT), (OPEN, "/Shared/x", F_WRITE | F_CREAT, Raw(attributes_beyond)),
                    (WRITE, handle, U64(0), Raw(packed(2**32 - 1) + b"short")), (WRITE, handle, U64(0), Raw(packed(6) + b"short")),
                    (WRITE, handle, U64(0)), (WRITE, Raw(packed(2**31) + handle)), (READ, handle, U64(0)), (READ, handle),
                    (RENAME, "/Shared/strings"), (RENAME, "/Shared/strings", Raw(packed(9) + b"/Shared")),
                    (SETSTAT, "/Shared/strings", Raw(packed(1) + b"\0\0")), (SETSTAT, "/Shared/strings"), (MKDIR, "/Shared/d"),
                    (FSETSTAT, handle, 0x8000000f), (CLOSE,), (FSTAT, Raw(b"\0\0")), (REMOVE,), (STAT, Raw(b"\xff")), (REALPATH,), (READDIR,),
                    (EXTENDED,), (EXTENDED, Raw(packed(30) + b"fsync")), (EXTENDED, "fsync@openssh.com"), (EXTENDED, "copy-data", handle),
                    (EXTENDED, "copy-data", handle, U64(0), U64(0)), (EXTENDED, "posix-rename@openssh.com", "/Shared/strings"),
                    (EXTENDED, "users-groups-by-id@openssh.com", b"")):
        assert sftp.code(*request) == BAD_MESSAGE, request
    assert sftp.code(CLOSE, handle) == OK
    assert "x" not in sftp.list("/Shared") and "d" not in sftp.list("/Shared")
    # Without a request's number there is nothing to answer.
    sftp.raw(packed(3, Raw(bytes([STAT, 0, 0]))))
    assert sftp.reply() is None


def test_names_with_control_characters_and_ways_up(instance, connect):
    sftp = connect().sftp()
    sftp.put("/Shared/plain", b"x")
    for name in ("a\0b", "\0", "a\nb", "a\rb", "a\x1b[31mb", "a\x7f", "\u0085", b"\xff\xfe", b"\xc0\xae\xc0\xae", b"\xed\xa0\x80", b"a\xc3"):
        path = "/Shared/".encode() + (name.encode() if isinstance(name, str) else name)
        for request in ((OPEN, path, F_WRITE | F_CREAT, 0), (STAT, path), (LSTAT, path), (MKDIR, path, 0), (REMOVE, path), (RMDIR, path),
                        (OPENDIR, path), (REALPATH, path), (SETSTAT, path, 4, 0o600), (RENAME, "/Shared/plain", path), (RENAME, path, "/Shared/y"),
                        (EXTENDED, "posix-rename@openssh.com", "/Shared/plain", path), (EXTENDED, "statvfs@openssh.com", path),
                        (EXTENDED, "expand-path@openssh.com", path)):
            assert sftp.code(*request) == FAILURE, (path, request[0])
    for path in ("..", "../..", "/..", "/../../../etc", "/Shared/../../../../etc/passwd", "//../etc/passwd", "./.././../etc/passwd",
                 "/Shared/../../other/tree/Shared/secret", "/proc/self/root/etc/passwd", "/etc/passwd"):
        resolved = sftp.ask(REALPATH, path)[1]
        assert resolved.get_int() == 1 and ".." not in resolved.get_text()
        assert sftp.code(OPEN, path, F_READ, 0) != OK
    assert sftp.code(OPEN, "/../../../../../../etc/passwd", F_READ, 0) in (NO_SUCH_FILE, PERMISSION_DENIED)
    assert sftp.get("/../Shared/../Shared/plain") == b"x", "ways up end at the root"
    for request in ((SYMLINK, "/etc/passwd", "/Shared/link"), (READLINK, "/Shared/plain"),
                    (EXTENDED, "hardlink@openssh.com", "/Shared/plain", "/Shared/link")):
        assert sftp.code(*request) == PERMISSION_DENIED
    for name in ("; rm -rf x", "$(id)", "`id`", "%s%n%s", "-rf", "a'b\"c", "*", "~"):  # names like any other
        sftp.put(f"/Shared/{name}", name.encode())
        assert sftp.get(f"/Shared/{name}") == name.encode()
        sftp.ask(REMOVE, f"/Shared/{name}")
    assert sftp.list("/Shared").count("plain") == 1


def test_ten_thousand_open_handles(instance, connect):
    wire = connect()
    sftp = wire.sftp()
    sftp.put("/Shared/many", b"many")
    handles, refused = [], 0
    start = time.monotonic()
    for at in range(0, 10_000, 100):
        ids = [sftp.send(OPEN, "/Shared/many", F_READ, 0) if n % 2 else sftp.send(OPENDIR, "/Shared") for n in range(100)]
        for number in ids:
            kind, message = sftp.reply()
            assert message.get_int() == number
            if kind == HANDLE:
                handles.append(message.get_binary())
            else:
                assert message.get_int() == FAILURE and "open files" in message.get_text()
                refused += 1
    assert len(handles) == len(set(handles)) == 100 and refused == 9_900
    assert time.monotonic() - start < 30
    assert sftp.code(STAT, "/Shared/many") is None
    second = wire.sftp()
    assert second.code(OPEN, "/Shared/many", F_READ, 0) == FAILURE, "the limit is the session's, not a channel's"
    for handle in handles:
        sftp.close(handle)
    assert second.get("/Shared/many") == b"many"


# ---------------------------------------------------------------- the order of things

@pytest.mark.parametrize("request_first", [(STAT, "/"), (OPEN, "/Shared/a", F_READ, 0), (200, "limits@openssh.com")])
def test_requests_before_init(instance, connect, request_first):
    wire = connect()
    sftp = wire.sftp(init=False)
    sftp.send(*request_first)
    assert sftp.reply() is None
    assert sftp.channel.exit_status == 1
    assert wire.sftp().list("/")


def test_init_twice(instance, connect):
    wire = connect()
    sftp = wire.sftp()
    sftp.raw(packed(5, Raw([INIT]), 3))
    assert sftp.reply() is None
    assert wire.sftp().list("/")


@pytest.mark.parametrize("version", [0, 1, 4, 6, 2**32 - 1])
def test_any_version_is_answered_with_three(instance, connect, version):
    sftp = connect().sftp(init=False)
    sftp.raw(packed(5, Raw([INIT]), version))
    kind, message = sftp.reply()
    assert kind == 2 and message.get_int() == 3


def test_unknown_requests(instance, connect):
    sftp = connect().sftp()
    for kind in (0, 21, 22, 50, 99, 101, 105, 199, 201, 255):
        assert sftp.code(kind, "/Shared/x") == UNSUPPORTED, kind


def test_data_after_eof_and_after_close(instance, connect):
    wire = connect()
    sftp = wire.sftp()
    wire.send(CHANNEL_EOF, sftp.channel.remote)
    for _ in range(10):
        wire.send(CHANNEL_DATA, sftp.channel.remote, packed(packed(Raw([STAT]), 1, "/")))
    wire.wait(lambda: sftp.channel.closed)
    wire.send(CHANNEL_DATA, sftp.channel.remote, b"x" * 1000)
    wire.send(CHANNEL_EOF, sftp.channel.remote)
    wire.send(CHANNEL_CLOSE, sftp.channel.remote)
    wire.send(CHANNEL_CLOSE, sftp.channel.remote)
    try:
        assert wire.sftp().list("/")
    except Gone:
        pass  # hanging up on such a peer is right as well


def test_messages_for_channels_that_are_not_there(instance, connect):
    for kind, rest in ((CHANNEL_DATA, [b"x" * 100]), (CHANNEL_WINDOW_ADJUST, [1000]), (CHANNEL_EOF, []), (CHANNEL_CLOSE, []),
                       (CHANNEL_REQUEST, ["exec", True, "id"]), (CHANNEL_SUCCESS, []), (CHANNEL_OPEN_CONFIRMATION, [0, 100, 100])):
        wire = connect()
        sftp = wire.sftp()
        for number in (sftp.channel.remote + 7, 2**32 - 1):
            wire.send(kind, number, *rest)
        try:
            assert sftp.code(STAT, "/") is None
        except Gone:
            pass
        wire.close()


def test_a_window_that_overflows_and_more_data_than_the_window(instance, connect):
    wire = connect()
    sftp = wire.sftp()
    for _ in range(5):
        wire.send(CHANNEL_WINDOW_ADJUST, sftp.channel.remote, 2**32 - 1)
    try:
        assert sftp.code(STAT, "/") is None
        # A request that never ends, without regard for the window: its packet is too long to begin with, then it is bytes for nobody.
        handle = sftp.open("/Shared/flood", F_WRITE | F_CREAT)
        for _ in range(400):
            wire.send(CHANNEL_DATA, sftp.channel.remote, b"\0\3\0\0" + b"\6" * 32000)
        wire.send(CHANNEL_DATA, sftp.channel.remote, packed(9, Raw([CLOSE]), 5, handle))
        assert sftp.reply() is not False
    except Gone:
        pass


def test_a_copy_without_end_ends_with_its_client(instance, connect):
    wire = connect()
    sftp = wire.sftp()
    sparse = tree(instance) / "Shared" / "sparse"
    sparse.touch()
    os.truncate(sparse, 1 << 37)
    source, target = sftp.open("/Shared/sparse"), sftp.open("/Shared/copy", F_WRITE | F_CREAT | F_TRUNC)
    sftp.send(EXTENDED, "copy-data", source, U64(0), U64(0), target, U64(0))
    copy = sparse.with_name("copy")
    wait_for("the copy grows", lambda: copy.stat().st_size > 1 << 20)
    wire.close()
    wait_for("its session has ended", lambda: not sessions(instance), 10)
    assert copy.stat().st_size < 1 << 37
    copy.unlink()
    sparse.unlink()
