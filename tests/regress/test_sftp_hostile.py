"""What no client would send, over the wire, against a running instance: each thing gets the right answer, the server
goes on serving others, and no session process stays behind."""
import hashlib
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import paramiko
import pytest

from conftest import Instance, wait_for
from ssh_wire import (BAD_MESSAGE, CHANNEL_CLOSE, CHANNEL_DATA, CHANNEL_EOF, CHANNEL_OPEN, CHANNEL_OPEN_CONFIRMATION,
                      CHANNEL_REQUEST, CHANNEL_SUCCESS, CHANNEL_WINDOW_ADJUST, CLOSE, DATA, EOF, EXTENDED, F_APPEND, F_CREAT,
                      F_EXCL, F_READ, F_TRUNC, F_WRITE, FAILURE, FSETSTAT, FSTAT, GLOBAL_REQUEST, HANDLE, INIT, LSTAT, MKDIR,
                      NO_SUCH_FILE, OK, OPEN, OPENDIR, PERMISSION_DENIED, READ, READDIR, READLINK, REALPATH, REMOVE, RENAME, REQUEST_FAILURE,
                      REQUEST_SUCCESS, RMDIR, SERVICE_REQUEST, SETSTAT, STAT, STATUS, SYMLINK, U64, UNSUPPORTED, USERAUTH_FAILURE,
                      USERAUTH_PK_OK, USERAUTH_REQUEST, USERAUTH_SUCCESS, WRITE, Gone, Raw, Status, Wire, children, packed,
                      skip_attributes)

NOBODY_IS_BANNED = ("--option", 'gateway.never_ban=["127.0.0.0/8"]')


def add_partner(instance, name, **policies):
    """A partner with a key of its own, which is returned."""
    key_file = instance.dir / "partner" / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key_file], check=True)
    instance.ctl("partner", "create", name, "--email", f"files@{name}.example.com")
    instance.ctl("partner", "ssh-key", "add", name, f"{key_file}.pub")
    for policy, value in policies.items():
        instance.ctl("partner", "set", name, policy, value)
    return paramiko.Ed25519Key.from_private_key_file(str(key_file))


def own_key(instance):
    return paramiko.RSAKey.from_private_key_file(instance.env["SFTP_KEY"])


def tree(instance, partner="acme"):
    return instance.dir / "partners" / partner / "tree"


def sessions(instance):
    return children(int(instance.env["SALLYPORT_SFTP_PID"]))


@pytest.fixture(scope="module")
def instance():
    made = Instance("--shared", *NOBODY_IS_BANNED)
    made.other_key = add_partner(made, "other")
    yield made
    made.down()


@pytest.fixture(autouse=True)
def others_are_served_and_nothing_stays(request):
    """After every test: a new client of another partner works, and no session process is left."""
    used = request.getfixturevalue("instance") if "instance" in request.fixturenames else None
    wires = []
    if used is not None:
        assert sessions(used) == []
    yield wires
    if used is None:
        return
    still_serves(used)
    for wire in wires:
        wire.close()
    wait_for("all sessions have ended", lambda: not sessions(used), 10)
    log = (used.dir / "log" / "sftp.log").read_text(errors="replace")
    assert "session_died" not in log, log


def still_serves(instance):
    wire = Wire(instance).login("other", instance.other_key)
    sftp = wire.sftp()
    name = f"/Shared/{time.monotonic_ns()}"
    sftp.put(name, b"served")
    assert sftp.get(name) == b"served"
    sftp.ask(REMOVE, name)
    wire.close()


@pytest.fixture
def connect(instance, others_are_served_and_nothing_stays):
    def make(login=True, **more):
        wire = Wire(instance, **more)
        others_are_served_and_nothing_stays.append(wire)
        return wire.login() if login else wire
    return make


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


# ---------------------------------------------------------------- what is not SFTP

def test_only_sftp_is_given(instance, connect):
    wire = connect()
    number, _ = wire.open_channel()
    for request in (["pty-req", "xterm", 80, 24, 0, 0, b"\0"], ["shell"], ["exec", "id"], ["exec", "internal-sftp"], ["exec", "sftp-server"],
                    ["env", "LD_PRELOAD", "/tmp/x.so"], ["subsystem", "shell"], ["subsystem", "SFTP"],
                    ["x11-req", False, "MIT-MAGIC-COOKIE-1", "0" * 32, 0], ["auth-agent-req@openssh.com"], ["xon-xoff", True],
                    ["break", 100], ["nonsense", "x" * 10_000]):
        assert not wire.request(number, *request), request
    for request in (["signal", False, "KILL"], ["window-change", False, 1, 1, 1, 1], ["exit-status", False, 0],
                    ["exit-signal", False, "KILL", False, "", ""]):  # which never have an answer
        wire.send(CHANNEL_REQUEST, wire.channels[number].remote, *request)
    assert wire.request(number, "subsystem", "sftp")
    assert not wire.request(number, "subsystem", "sftp"), "a channel has one subsystem"
    assert not wire.request(number, "exec", "id")
    assert not wire.request(number, "pty-req", "xterm", 80, 24, 0, 0, b"\0")
    for kind, *more in (["direct-tcpip", "127.0.0.1", 25, "127.0.0.1", 1], ["forwarded-tcpip", "127.0.0.1", 25, "127.0.0.1", 1],
                        ["x11", "127.0.0.1", 6000], ["auth-agent@openssh.com"], ["direct-streamlocal@openssh.com", "/run/x", "", 0],
                        ["tun@openssh.com", 1, 0], ["nonsense"]):
        opened, why = wire.open_channel(kind, *more)
        assert opened is None and why, kind
    for name, *more in (["tcpip-forward", True, "0.0.0.0", 2222], ["cancel-tcpip-forward", True, "0.0.0.0", 2222],
                        ["streamlocal-forward@openssh.com", True, "/tmp/x"], ["hostkeys-prove-00@openssh.com", True, b"x"],
                        ["no-more-sessions@openssh.com", True]):
        wire.send(GLOBAL_REQUEST, name, *more)
        assert wire.next()[0] == REQUEST_FAILURE, name
    wire.send(GLOBAL_REQUEST, "keepalive@openssh.com", True)
    assert wire.next()[0] in (REQUEST_SUCCESS, REQUEST_FAILURE), "any answer says that we are alive"
    assert wire.sftp().list("/"), "and it still serves"
    assert len(sessions(instance)) == 1, "nothing was started"


def test_channels_are_limited_and_given_back(instance, connect):
    wire = connect()
    made = [wire.open_channel()[0] for _ in range(30)]
    assert len([number for number in made if number is not None]) == 10
    for number in [number for number in made if number is not None]:
        wire.send(CHANNEL_CLOSE, wire.channels[number].remote)
        wire.wait(lambda: wire.channels[number].closed)
    for _ in range(300):
        number, why = wire.open_channel()
        assert number is not None, why
        wire.send(CHANNEL_CLOSE, wire.channels[number].remote)
        wire.wait(lambda: wire.channels[number].closed)
    assert wire.sftp().list("/")


# ---------------------------------------------------------------- before and around the login

def test_a_probe_is_no_login(instance, connect):
    wire = connect(login=False).service()
    assert wire.offer("acme", own_key(instance), sign=False) == USERAUTH_PK_OK
    wire.send(CHANNEL_OPEN, "session", 0, 2**31, 32768)
    assert wire.ended(10), "no channel, and the end of the connection"
    assert not [kind for kind, _ in wire.others if kind == CHANNEL_OPEN_CONFIRMATION]


@pytest.mark.parametrize("what", [
    [(CHANNEL_OPEN, "session", 0, 2**31, 32768)],
    [(GLOBAL_REQUEST, "tcpip-forward", True, "0.0.0.0", 2222)],
    [(CHANNEL_REQUEST, 0, "subsystem", True, "sftp")],
    [(CHANNEL_DATA, 0, b"x")],
    [(USERAUTH_SUCCESS,)],
    [(USERAUTH_SUCCESS,), (CHANNEL_OPEN, "session", 0, 2**31, 32768)],
    [(USERAUTH_PK_OK, "ssh-ed25519", b"x")],
    [(61, 1, "answer")],
    [(SERVICE_REQUEST, "ssh-connection")],
    [(SERVICE_REQUEST, "ssh-connection"), (CHANNEL_OPEN, "session", 0, 2**31, 32768)],
    [(SERVICE_REQUEST, "nonsense")],
], ids=["channel", "forward", "subsystem", "data", "success", "success-and-channel", "pk-ok", "info-response", "service", "service-and-channel",
        "no-service"])
@pytest.mark.parametrize("asked_for_login", [False, True])
def test_nothing_but_a_login_before_the_login(instance, connect, what, asked_for_login):
    wire = connect(login=False)
    if asked_for_login:
        wire.service()
    for message in what:
        wire.send(*message)
    assert wire.ended(10)
    assert {kind for kind, _ in wire.others} <= {3, 6, USERAUTH_FAILURE}, "nothing was granted"


def test_login_messages_that_are_cut_short_or_strange(instance, connect):
    key = own_key(instance)
    for parts in ([], ["acme"], ["acme", "ssh-connection"], ["acme", "ssh-connection", "password"], ["acme", "ssh-connection", "password", False],
                  ["acme", "ssh-connection", "publickey", True], ["acme", "ssh-connection", "publickey", True, "rsa-sha2-256", b"garbage", b"garbage"],
                  ["acme", "ssh-connection", "publickey", True, "rsa-sha2-256", key.asbytes()],
                  ["acme", "ssh-connection", "publickey", True, "rsa-sha2-256", key.asbytes(), b""],
                  ["acme", "ssh-connection", "publickey", True, "nonsense", key.asbytes(), b"x"],
                  ["acme", "ssh-connection", "publickey", False, "rsa-sha2-256", b""],
                  [Raw(packed(2**32 - 1) + b"acme")], ["acme\0x", "ssh-connection", "password", False, "x"],
                  ["a" * 30_000, "ssh-connection", "password", False, "x"], ["acme", "ssh-connection", "password", False, "x" * 30_000],
                  ["acme", "ssh-connection", "hostbased", "rsa-sha2-256", b"x", "host", "root", b"x"],
                  ["acme", "ssh-connection", "keyboard-interactive", "", ""], ["acme", "ssh-connection", "gssapi-with-mic", 1, b"\6\0"],
                  ["acme", "ssh-connection", "gssapi-with-mic", 2**32 - 1], ["acme", "ssh-connection", "nonsense"], ["", "", ""]):
        wire = connect(login=False).service()
        wire.send(USERAUTH_REQUEST, *parts)
        try:
            assert wire.answer() == USERAUTH_FAILURE, parts
        except Gone:
            pass
        wire.close()


def test_a_service_whose_name_is_longer_than_its_packet(instance, connect):
    wire = connect(login=False)
    wire.send(SERVICE_REQUEST, Raw(packed(2**32 - 1) + b"ssh-userauth"))
    try:
        wire.login()  # it was nothing, and the connection goes on, until the login grace is over at most
    except Gone:
        pass


def test_a_login_without_asking_for_the_service_first(instance, connect):
    wire = connect(login=False)
    kind = wire.offer("acme", own_key(instance))
    # libssh does not insist on the order; what counts is that the key was proven.
    assert kind in (USERAUTH_SUCCESS, USERAUTH_FAILURE)


def test_a_signature_for_someone_else_is_none(instance, connect):
    """The proof of one user, of another connection, or of another service does not let in as acme."""
    key = own_key(instance)
    other = connect(login=False).service()
    for user, more in (("other", {}), ("acme", {"session": other.transport.session_id})):
        wire = connect(login=False).service()
        signature = wire.signature(user, key, "rsa-sha2-256", **more)
        wire.send(USERAUTH_REQUEST, "acme", "ssh-connection", "publickey", True, "rsa-sha2-256", key.asbytes(), signature)
        with pytest.raises(Gone):
            assert wire.answer() == USERAUTH_FAILURE
            raise Gone("refused")
    # A right key of another partner.
    wire = connect(login=False).service()
    assert wire.offer("acme", instance.other_key) == USERAUTH_FAILURE
    assert wire.offer("other", instance.other_key) == USERAUTH_SUCCESS
    assert "secret-of-acme" not in wire.sftp().list("/Shared")


def test_another_user_name_in_mid_login(instance, connect):
    """With key and password together: what one name has proven is nothing for another."""
    instance.ctl("partner", "create", "both", "--email", "files@both.example.com", "--auth", "key+password")
    key_file = instance.dir / "partner" / "both"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key_file], check=True)
    instance.ctl("partner", "ssh-key", "add", "both", f"{key_file}.pub")
    secret = instance.dir / "both.password"
    secret.write_text("correct horse battery\n")
    instance.ctl("partner", "password", "both", secret)
    instance.ctl("partner", "create", "word", "--email", "files@word.example.com", "--auth", "password")
    instance.ctl("partner", "password", "word", secret)
    key = paramiko.Ed25519Key.from_private_key_file(str(key_file))
    wire = connect(login=False).service()
    assert wire.password("both", "correct horse battery") == USERAUTH_FAILURE, "the password alone"
    assert wire.offer("acme", own_key(instance), sign=False) == USERAUTH_PK_OK
    assert wire.password("acme", "correct horse battery") == USERAUTH_FAILURE
    wire.close()
    wire = connect(login=False).service()
    assert wire.offer("both", key) == USERAUTH_FAILURE and wire.methods == "password", "a part of it"
    assert wire.password("acme", "correct horse battery") == USERAUTH_FAILURE
    assert wire.password("word", "wrong") == USERAUTH_FAILURE
    assert wire.password("both", "wrong horse") == USERAUTH_FAILURE
    assert wire.password("both", "correct horse battery") == USERAUTH_SUCCESS
    assert wire.sftp().list("/Shared") == []


def test_attempts_are_limited_whatever_their_method(instance, connect):
    for ask in (lambda wire: wire.send(USERAUTH_REQUEST, "acme", "ssh-connection", "none"),
                lambda wire: wire.send(USERAUTH_REQUEST, "acme", "ssh-connection", "hostbased", "x", b"x", "h", "u", b"x"),
                lambda wire: wire.send(USERAUTH_REQUEST, "acme", "ssh-connection", "keyboard-interactive", "", ""),
                lambda wire: wire.send(USERAUTH_REQUEST, "acme", "ssh-connection", "password", False, "wrong wrong wrong")):
        wire = connect(login=False).service()
        asked = 0
        with pytest.raises(Gone) as gone:
            while asked < 200:
                ask(wire)
                assert wire.answer() == USERAUTH_FAILURE
                asked += 1
        # One that is sent together with the end may still be answered.
        assert asked <= 101 and "authentication failures" in gone.value.said, (asked, gone.value.said)


def test_a_login_after_the_login(instance, connect):
    wire = connect()
    sftp = wire.sftp()
    wire.send(USERAUTH_REQUEST, "other", "ssh-connection", "password", False, "x")
    wire.send(SERVICE_REQUEST, "ssh-userauth")
    try:
        assert sftp.code(STAT, "/Shared") is None
        assert sftp.code(STAT, "/Shared/secret") == NO_SUCH_FILE, "still the first partner"
    except Gone:
        pass


# ---------------------------------------------------------------- keys exchanged anew

@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "aes256-ctr"])
@pytest.mark.parametrize("direction", ["put", "get"])
def test_new_keys_in_the_middle_of_a_transfer(instance, scratch, cipher, direction, connect):
    """OpenSSH asks for new keys after each MiB."""
    content = os.urandom(1 << 20) * 24
    near, far = scratch / "near.bin", tree(instance) / "Shared" / "rekeyed.bin"
    near.write_bytes(content)
    (far if direction == "get" else near).write_bytes(content)
    back = scratch / "back.bin"
    argv = instance.sftp_argv("-o", "RekeyLimit=1M", "-c", cipher, "-o", "LogLevel=DEBUG1")
    argv.remove("-q")
    line = f"put {near} /Shared/rekeyed.bin" if direction == "put" else f"get /Shared/rekeyed.bin {back}"
    done = subprocess.run(argv, input=line + "\n", text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("SSH2_MSG_NEWKEYS received") > 10
    assert hashlib.sha256((far if direction == "put" else back).read_bytes()).digest() == hashlib.sha256(content).digest()
    far.unlink()


def test_new_keys_asked_for_by_message(instance, connect):
    wire = connect()
    sftp = wire.sftp()
    content = os.urandom(32768)
    handle = sftp.open("/Shared/keys", F_READ | F_WRITE | F_CREAT | F_TRUNC)
    for number in range(12):
        sftp.send(WRITE, handle, U64(number * 32768), content)
        if number % 3 == 1:
            wire.transport.renegotiate_keys()
    for _ in range(12):
        kind, message = sftp.reply()
        message.get_int()
        assert kind == STATUS and message.get_int() == OK
    sftp.close(handle)
    assert sftp.get("/Shared/keys") == content * 12
    sftp.ask(REMOVE, "/Shared/keys")


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
    sftp.code(CLOSE, upload)
    sftp.ask(REMOVE, "/Shared/large")
    sftp.put("/Shared/fits", b"x" * 500_000)
    with pytest.raises(Status) as refused:
        for number in range(40):
            sftp.ask(MKDIR, f"/Shared/d{number}", 0)
    assert "quota" in refused.value.message.lower()


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
