"""SSH messages that no client would send, or not then: channels and requests that are not SFTP, logins out of order, new
keys in the middle of a transfer."""
import hashlib
import os
import subprocess

import paramiko
import pytest

from hostile import own_key, sessions, tree, connect, instance, others_are_served_and_nothing_stays  # noqa: F401 (fixtures)
from ssh_wire import (CHANNEL_CLOSE, CHANNEL_DATA, CHANNEL_OPEN, CHANNEL_OPEN_CONFIRMATION, CHANNEL_REQUEST, F_CREAT, F_READ, F_TRUNC,
                      F_WRITE, GLOBAL_REQUEST, NO_SUCH_FILE, OK, REMOVE, REQUEST_FAILURE, REQUEST_SUCCESS, SERVICE_REQUEST, STAT, STATUS, U64,
                      USERAUTH_FAILURE, USERAUTH_PK_OK, USERAUTH_REQUEST, USERAUTH_SUCCESS, WRITE, Gone, Raw, packed)


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
    # gateway.max_attempts is 6; "none" may be asked once for the methods. What libssh answers by itself ends after 100.
    for method, most, rest in (("none", 7, ()), ("hostbased", 100, ("x", b"x", "h", "u", b"x")), ("keyboard-interactive", 100, ("", "")),
                               ("password", 6, (False, "wrong wrong wrong"))):
        wire = connect(login=False).service()
        asked = 0
        with pytest.raises(Gone) as gone:
            while asked < 200:
                wire.send(USERAUTH_REQUEST, "acme", "ssh-connection", method, *rest)
                assert wire.answer() == USERAUTH_FAILURE
                asked += 1
        assert asked == most and gone.value.said == "Too many authentication failures", (method, asked, gone.value.said)


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
