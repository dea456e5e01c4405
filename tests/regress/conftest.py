"""What the regress tests share: a real instance each, and small helpers around its clients.

Every test file runs against daemons of its own (tests/instance), so the files can run in parallel.
$SALLYPORT_BUILD names the build.
"""
import ctypes
import email
import email.policy
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

from keys_api import Api, Gateway

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(TESTS))
from free_port import free_port  # noqa: E402,F401 (for the tests)
# Containers of systemd-nspawn refuse landlock (landlock_create_ruleset, number 444) whatever the kernel has.
WEAK_SANDBOX = [] if ctypes.CDLL(None).syscall(444, None, 0, 1) >= 2 else ["--allow-weak-sandbox"]


def wait_for(what, ready, seconds=20):
    """Waits for an event with a deadline and returns what `ready` gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = ready()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


class Instance:
    """tests/instance as an object; everything goes through its command line."""

    def __init__(self, *options):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sp-"))
        self.command("up", *options)

    def command(self, verb, *args, check=True):
        result = subprocess.run([TESTS / "instance", verb, self.dir, *[str(a) for a in args]], text=True,
                                capture_output=True, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"instance {verb} {args}: {result.stdout}{result.stderr}\n{self.logs()}")
        return result

    @property
    def env(self):
        values = {}
        for line in (self.dir / "env").read_text().splitlines():
            name, _, value = line.partition("=")
            values[name] = "".join(shlex.split(value))
        return values

    def ctl(self, *args):
        return self.command("ctl", *args).stdout

    def json(self, *args):
        return json.loads(self.ctl("--json", *args))

    def items(self, *args):
        answer = self.json(*args)
        return answer["items"] if isinstance(answer, dict) else answer

    def ctl_fails(self, *args):
        result = self.command("ctl", *args, check=False)
        assert result.returncode != 0, f"{args} succeeded: {result.stdout}"
        return result.stdout + result.stderr

    def advance(self, by):
        self.command("advance", by)

    def restart(self):
        self.command("restart")

    def kill(self, what="all"):
        self.command("kill", what)

    def stop(self, what="all"):
        self.command("stop", what)

    def logs(self):
        return "".join(f"--- {p.name}\n" + "".join(p.read_text(errors="replace").splitlines(True)[-12:])
                       for p in sorted((self.dir / "log").glob("*.log")))

    def mails(self):
        return [email.message_from_bytes(p.read_bytes(), policy=email.policy.default)
                for p in sorted(pathlib.Path(self.env["MAIL_DIR"]).glob("*.eml"))]

    # ------------------------------------------------------------------ the partner's side
    def sftp_argv(self, *options):
        e = self.env
        return ["sftp", "-q", "-b", "-", "-P", e["SFTP_PORT"], "-i", e["SFTP_KEY"], "-o", "IdentitiesOnly=yes",
                "-o", f"UserKnownHostsFile={e['SFTP_HOST_KEYS']}", *options, f"{e['SFTP_USER']}@{e['SFTP_HOST']}"]

    def sftp(self, *commands, check=True, timeout=120):
        result = subprocess.run(self.sftp_argv(), input="\n".join(str(c) for c in commands) + "\n", text=True,
                                capture_output=True, timeout=timeout, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"sftp {commands}: {result.stdout}{result.stderr}\n{self.logs()}")
        return result

    def seal(self, plain, sealed, sign=True, encrypt=True, armour=False):
        """gpg as the partner: `plain` (a path) becomes `sealed`."""
        e = self.env
        argv = ["gpg", "--homedir", e["PARTNER_PGP_HOME"], "--batch", "--quiet", "--yes", "--pinentry-mode", "loopback",
                "--passphrase", "", "--trust-model", "always", "--output", str(sealed)]
        argv += ["--armor"] if armour else []
        argv += ["--local-user", e["PARTNER_PGP_FINGERPRINT"], "--sign"] if sign else []
        argv += ["--recipient", e["GATEWAY_PGP_FINGERPRINT"], "--encrypt"] if encrypt else []
        subprocess.run(argv + [str(plain)], check=True, capture_output=True)
        return sealed

    def verify(self, value, path="/verify", headers=()):
        """The status a gateway gets for a key's value, over verify.sock."""
        argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", self.env["SALLYPORT_VERIFY_SOCKET"],
                "-H", f"X-API-Key: {value}"]
        for header in headers:
            argv += ["-H", header]
        return int(subprocess.run(argv + [f"http://localhost{path}"], text=True, capture_output=True, check=True).stdout)

    def inbound(self, *parts):
        return pathlib.Path(self.env["INBOUND_DIR"]) / self.env["SFTP_USER"] / pathlib.Path(*parts)

    def file_named(self, name):
        found = [f for f in self.items("files", "list") if f["name"] == name]
        return found[0] if found else None

    def wait_state(self, name, *states, seconds=20):
        def reached():
            row = self.file_named(name)
            return row if row and row["state"].lower() in states else None
        try:
            return wait_for(f"{name} is {' or '.join(states)}", reached, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.file_named(name)}\n{self.logs()}") from None

    def down(self):
        self.command("down", "--remove", check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


@pytest.fixture(scope="module")
def instance():
    made = Instance()
    yield made
    made.down()


@pytest.fixture(scope="module")
def api(instance):
    """Root on admin.sock."""
    return Api(instance)


@pytest.fixture(scope="module")
def gateway(instance):
    return Gateway(instance)


@pytest.fixture
def make_instance():
    """A factory, for tests that need one to themselves or with options."""
    made = []

    def make(*options):
        made.append(Instance(*options))
        return made[-1]

    yield make
    for one in made:
        one.down()


@pytest.fixture
def scratch(tmp_path):
    return tmp_path


def pytest_configure(config):
    # A service manager around the tests (a container has one, too) is not the daemons': they would take its sockets, and
    # refuse the test clock.
    for name in ("NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "GNUPGHOME"):
        os.environ.pop(name, None)
    config.addinivalue_line("markers", "long: part of make test-full only")
    os.environ.setdefault("SALLYPORT_BUILD", str(TESTS.parent / "build" / "release"))
