"""What the tests of hostile clients share: an instance with two partners, and the check after each test that others are
served and nothing stays behind."""
import subprocess
import time

import paramiko
import pytest

from conftest import Instance, wait_for
from ssh_wire import (REMOVE, Wire, children)

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
