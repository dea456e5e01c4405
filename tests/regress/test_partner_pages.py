"""docs/partners, followed to the letter with the real clients: only host, port and the names of files are put in."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

from clients import Curl
from clients.libraries import NODE_CLIENT, node_modules
from conftest import TESTS, Instance, wait_for

PAGES = TESTS.parent / "docs" / "partners"
NAME = "invoices.csv.pgp"


def blocks(page):
    """The indented code of a page, block by block."""
    found, now = [], []
    for line in (PAGES / page).read_text().splitlines() + ["end"]:
        if line.startswith("    "):
            now.append(line[4:])
        elif line or not now:
            if now:
                found.append("\n".join(now).strip("\n") + "\n")
            now = []
        else:
            now.append("")
    return found


class Desk:
    """A partner's machine: a home with its key, the gateway's host key, and a sealed file to send."""

    def __init__(self, instance, home):
        self.instance, self.home, self.e = instance, home, instance.env
        (home / ".ssh").mkdir()
        self.key = home / ".ssh" / "acme_gateway"
        self.key.write_bytes(pathlib.Path(self.e["SFTP_KEY"]).read_bytes())
        self.key.chmod(0o600)
        (home / ".ssh" / "acme_gateway.pub").write_bytes(pathlib.Path(f"{self.e['SFTP_KEY']}.pub").read_bytes())
        (home / "acme_gateway").write_bytes(self.key.read_bytes())
        (home / "acme_gateway").chmod(0o600)
        for known in (home / "known_hosts", home / ".ssh" / "known_hosts"):
            known.write_bytes(pathlib.Path(self.e["SFTP_HOST_KEYS"]).read_bytes())
        (home / "plain.csv").write_text("a,b\n" * 100)
        instance.seal(home / "plain.csv", home / NAME)
        # ssh looks for its files in the home of the user's account, whatever $HOME says.
        tools = home / "bin"
        tools.mkdir()
        for tool in ("ssh", "sftp", "scp"):
            (tools / tool).write_text(f'#!/bin/sh\nexec /usr/bin/{tool} -F "{home}/.ssh/config" "$@"\n')
            (tools / tool).chmod(0o755)
        (home / ".ssh" / "config").write_text(f"UserKnownHostsFile {home}/.ssh/known_hosts\n")
        fingerprints = subprocess.run(["ssh-keygen", "-lf", self.e["SFTP_HOST_KEYS"]], text=True, capture_output=True, check=True).stdout
        self.pin = next(line.split()[1].removeprefix("SHA256:") for line in fingerprints.splitlines() if "ED25519" in line)

    def put_in(self, text):
        text = text.replace("gateway.example.org", self.e["SFTP_HOST"]).replace("2222", self.e["SFTP_PORT"])
        return text.replace("~", str(self.home)).replace("FINGERPRINT-OF-THE-SHEET", self.pin)

    def run(self, *argv, data=None, ok=True):
        done = subprocess.run([str(a) for a in argv], cwd=self.home, input=data, text=True, capture_output=True, timeout=60, check=False,
                              env={"HOME": str(self.home), "PATH": f"{self.home}/bin:/usr/local/bin:/usr/bin:/bin"})
        assert not ok or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def shell(self, text, ok=True):
        return self.run("bash", "-c", self.put_in(text), ok=ok)

    def was_received(self):
        """By the gateway; and it is not taken for the next one's."""
        delivered = wait_for("the file is delivered", lambda: list(self.instance.inbound("Invoices").glob("invoices*.csv")))
        assert [path.read_bytes() for path in delivered] == [(self.home / "plain.csv").read_bytes()]
        delivered[0].unlink()

    def offer(self):
        """A file of ours for the partner."""
        self.instance.ctl("send", "acme", self.home / "plain.csv", "--object", "Invoices", "--name", "ours.csv")
        wait_for("it is offered", lambda: "ours.csv.pgp" in self.instance.sftp("ls -1 /Outgoing/Invoices").stdout)

    def was_fetched(self, *place):
        assert (self.home.joinpath(*place) / "ours.csv.pgp").stat().st_size > 100
        assert "ours" not in self.instance.sftp("ls -1 /Outgoing/Invoices").stdout


@pytest.fixture(scope="module")
def shared():
    made = Instance()
    yield made
    made.down()


@pytest.fixture
def desk(shared, tmp_path):
    return Desk(shared, tmp_path)


def test_openssh(desk):
    config, script, *_ = blocks("openssh.md")
    host, _, session = config.partition("sftp gateway\n")
    with open(desk.home / ".ssh" / "config", "a") as file:
        file.write(desk.put_in(host))
    desk.offer()
    commands = [line.removeprefix("sftp> ") for line in session.splitlines()]
    desk.run("sftp", "-b", "-", "gateway", data="\n".join(commands) + "\n")
    desk.was_received()
    desk.was_fetched()
    desk.shell(script)
    desk.was_received()
    assert desk.shell(script.replace("Invoices/", "Nowhere/"), ok=False).returncode != 0
    # What the list below says.
    desk.run("scp", "-s", NAME, "gateway:/Incoming/Invoices/invoices-by-scp.csv.pgp")
    desk.was_received()
    again = desk.run("scp", "-s", NAME, "gateway:/Incoming/Invoices/invoices-by-scp.csv.pgp", ok=False)
    assert again.returncode != 0 and "Permission denied" in again.stderr
    assert desk.run("scp", "-O", NAME, "gateway:/Incoming/Invoices/", ok=False).returncode != 0


def test_lftp(desk):
    desk.offer()
    opening = blocks("lftp.md")[0].rstrip().removesuffix("'")
    desk.shell(f"{opening}; set cmd:fail-exit yes; put -O /Incoming/Invoices {NAME}; mirror --Remove-source-files /Outgoing/Invoices invoices; bye'")
    desk.was_received()
    desk.was_fetched("invoices")
    desk.shell(f"{opening}; set cmd:fail-exit yes; set xfer:use-temp-file yes; set xfer:temp-file-name .in.*; put -O /Incoming/Invoices {NAME}; bye'")
    desk.was_received()
    (desk.home / "outbox").mkdir()
    (desk.home / NAME).rename(desk.home / "outbox" / NAME)
    desk.shell(f"{opening}; set cmd:fail-exit yes; mirror -R --Remove-source-files outbox /Incoming/Invoices; bye'")
    desk.was_received()
    assert not (desk.home / "outbox" / NAME).exists()


def test_rclone(desk):
    desk.offer()
    desk.shell(blocks("rclone.md")[0])
    (desk.home / "invoices").mkdir()
    (desk.home / NAME).rename(desk.home / "invoices" / NAME)
    desk.shell("rclone move invoices gateway:/Incoming/Invoices")
    desk.was_received()
    assert not (desk.home / "invoices" / NAME).exists()
    desk.shell("rclone move gateway:/Outgoing/Invoices invoices")
    desk.was_fetched("invoices")


def test_curl(desk):
    command = blocks("curl.md")[0].replace("curl ", f"curl -sS --hostpubsha256 {desk.pin} ", 1)
    if Curl.is_modern():
        desk.shell(command)
        return desk.was_received()
    refused = desk.shell(command, ok=False)
    assert refused.returncode == 2 and "Unable to exchange encryption keys" in refused.stderr
    assert "Unable to exchange encryption keys" in (PAGES / "curl.md").read_text()


def test_psftp(desk):
    commands, script = blocks("psftp.md")
    (desk.home / "upload.txt").write_text(desk.put_in(script))
    (desk.home / "acme_gateway.ppk").unlink(missing_ok=True)
    desk.shell(commands)
    desk.was_received()
    (desk.home / "upload.txt").write_text(script.replace("/Incoming", "/Nowhere"))
    assert desk.shell(commands, ok=False).returncode != 0


def test_sshfs(desk):
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("file systems in user space cannot be mounted here: no /dev/fuse")
    (desk.home / "gateway").mkdir()
    desk.shell("set -e\n" + blocks("sshfs.md")[0])
    desk.was_received()


def test_python(desk):
    desk.offer()
    paramiko_block, asyncssh_block = blocks("python.md")
    desk.run(sys.executable, "-c", desk.put_in(paramiko_block))
    desk.was_received()
    desk.was_fetched()
    body = "\n".join("    " + line for line in desk.put_in(asyncssh_block).splitlines())
    desk.run(sys.executable, "-W", "ignore", "-c", f"import asyncio, asyncssh\nasync def main():\n{body}\nasyncio.run(main())\n")
    desk.was_received()


def test_node_js(desk):
    desk.offer()
    script, = blocks("nodejs.md")
    turn = re.search(r"`(echo FINGERPRINT.*)`", (PAGES / "nodejs.md").read_text().replace("\n  ", " "))[1]
    (desk.home / "node_modules").symlink_to(node_modules() / "node_modules")
    (desk.home / "upload.mjs").write_text(desk.put_in(script).replace("FINGERPRINT-IN-HEXADECIMAL", desk.shell(turn).stdout))
    desk.run("node", "upload.mjs")
    desk.was_received()
    desk.was_fetched()
    assert NODE_CLIENT.split("@")[1].rsplit(".", 1)[0] in (PAGES / "nodejs.md").read_text()


def test_every_page_is_named():
    listed = set(re.findall(r"\]\(([a-z]+\.md)\)", (PAGES / "README.md").read_text()))
    assert listed == {page.name for page in PAGES.glob("*.md")} - {"README.md"}
