"""Power loss: a disk (XFS, ext4) on a loop device that is shut down in mid-work, mounted again, and the programs started
anew. An upload that the client saw accepted is there afterwards, delivered once and whole; a file that an application moved
into outbound/ is offered to the partner once.

The long run loses power 200 times on each file system, in pieces that can be run one by one (-k "xfs and 3-"); the moments
of a piece follow from its number. SALLYPORT_POWER_CYCLES makes pieces shorter or longer.
"""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import paramiko
import pytest

from conftest import Instance, wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not all(shutil.which(p) for p in ("mkfs.xfs", "mkfs.ext4", "xfs_io")),
                                reason="needs root, xfsprogs and e2fsprogs")

PIECES = 4
CYCLES = int(os.environ.get("SALLYPORT_POWER_CYCLES", 200 // PIECES))
MAKE = {"xfs": ["mkfs.xfs", "-q"], "ext4": ["mkfs.ext4", "-q", "-F"]}
OPTIONS = {"xfs": "loop,nouuid", "ext4": "loop"}  # a disk that came back and its dead self have one UUID


class Disk:
    def __init__(self, scratch, kind):
        self.image, self.options = scratch / "disk.img", OPTIONS[kind]
        subprocess.run(["truncate", "-s", "3G", self.image], check=True)
        subprocess.run([*MAKE[kind], self.image], check=True)
        # Long on purpose: sockets and gpg's home then go to a directory of their own, whose agents keep no file open here.
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="sp-disk-that-loses-its-power-now-and-then-and-comes-back-"))
        result = self.mount()
        if result.returncode != 0:
            pytest.skip(f"no loop device to mount here (a container?): {result.stderr.strip()}")

    def mount(self):
        return subprocess.run(["mount", "-o", self.options, self.image, self.path], capture_output=True, text=True, check=False)

    def sync(self):
        """What the test itself keeps there (configuration, state of the instance) is no part of the question."""
        subprocess.run(["sync", "-f", self.path], check=True)

    def lose_power(self):
        # Nothing that has not reached the disk by now will: neither data in memory nor the file system's log.
        subprocess.run(["xfs_io", "-x", "-c", "shutdown", self.path], check=True)

    def come_back(self):
        """What is on the disk, mounted anew: a copy of it, because another program's mount namespace may keep the dead
        file system alive, and a second mount of the same disk would be that one."""
        fresh = self.image.with_suffix(".new")
        subprocess.run(["cp", "--sparse=always", self.image, fresh], check=True)
        subprocess.run(["umount", "-l", self.path], check=True, capture_output=True)
        fresh.rename(self.image)
        result = self.mount()
        assert result.returncode == 0, result.stderr

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=False, capture_output=True)
        self.path.rmdir()


class OnDisk(Instance):
    def __init__(self, directory):
        self.dir = directory
        self.command("up")


def close_answered(sftp, handle):
    """CLOSE, and an exception for any answer but OK: the close() of paramiko's file swallows them."""
    sftp._request(paramiko.sftp.CMD_CLOSE, handle.handle)  # pylint: disable=protected-access
    handle._closed = True  # pylint: disable=protected-access


class Partner(threading.Thread):
    """Uploads one file after the other on one connection, until that breaks, and keeps the names whose CLOSE was answered
    with OK."""

    def __init__(self, instance, jobs):
        super().__init__()
        self.e, self.jobs, self.accepted, self.trouble = instance.env, jobs, [], None

    def run(self):
        e = self.e
        transport = paramiko.Transport((e["SFTP_HOST"], int(e["SFTP_PORT"])))
        try:
            transport.connect(username=e["SFTP_USER"], pkey=paramiko.RSAKey.from_private_key_file(e["SFTP_KEY"]))
            sftp = paramiko.SFTPClient.from_transport(transport)
            for name, sealed in self.jobs:
                handle = sftp.open(f"/Incoming/Invoices/{name}.pgp", "wb")
                handle.set_pipelined(True)
                handle.write(sealed)
                close_answered(sftp, handle)
                self.accepted.append(name)
        except (OSError, EOFError, paramiko.SSHException) as error:
            self.trouble = error
        finally:
            transport.close()


@pytest.fixture
def disk(scratch, request):
    made = Disk(scratch, request.param)
    yield made
    made.close()


def place_durably(path, text):
    """As a careful application does it: the file is whole and on the disk before it has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("." + path.name)
    with open(temporary, "w", encoding="ascii") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def end_all(pids):
    """Ends them, and waits for it: on a dead disk that takes a moment, in which they would pass for running."""
    def ended(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_for("all programs have ended", lambda: all(ended(pid) for pid in pids))


def messages(instance, scratch, dice):
    """Sealed messages of many sizes; each is uploaded under many names."""
    pool = []
    for number in range(12):
        plain = scratch / f"m{number}"
        plain.write_text(f"{number},{dice.random()}\n" * dice.choice([1, 50, 3000, 10000]))
        pool.append((instance.seal(plain, scratch / f"m{number}.pgp").read_bytes(), plain.read_text()))
    return pool


def names_in(folder):
    """None as long as nothing has come, and the folder neither."""
    return {p.name for p in folder.iterdir()} if folder.exists() else set()


def delivered_all(instance, inbound, accepted):
    """Waits as long as files come; the backlog of many interrupted runs takes its time."""
    there, since = 0, time.monotonic()
    while time.monotonic() < since + 60:
        names = names_in(inbound)
        if names >= accepted:
            return
        if len(names) > there:
            there, since = len(names), time.monotonic()
        time.sleep(0.1)
    missing = sorted(accepted - names_in(inbound))
    rows = [(f["state"], f.get("reason")) for name in missing[:5] for f in instance.items("files", "list", "--name", f"{name}.pgp")]
    lines = (instance.dir / "log" / "daemon.log").read_text(errors="replace").splitlines()
    trouble = [line for line in lines if " debug " not in line and " info " not in line]
    raise AssertionError(f"{len(missing)} of {len(accepted)} accepted uploads are not delivered and none comes any more: {missing[:20]}; {rows}\n"
                         + "\n".join(trouble[-30:]))


def cycles(disk, scratch, count, seed):
    dice = random.Random(seed)
    instance = OnDisk(disk.path / "instance")
    state = json.loads((instance.dir / "state.json").read_text())
    pool = messages(instance, scratch, dice)
    accepted, contents, sent, during = [], {}, [], 0
    outbound = pathlib.Path(instance.env["OUTBOUND_DIR"]) / "acme" / "Invoices"
    disk.sync()
    try:
        for cycle in range(count):
            partners = []
            for lane in range(2):
                jobs = []
                for number in range(8):
                    sealed, plain = dice.choice(pool)
                    name = f"c{cycle}l{lane}n{number}.csv"
                    contents[name] = plain
                    jobs.append((name, sealed))
                partners.append(Partner(instance, jobs))
                partners[-1].start()
            for number in range(2):
                place_durably(outbound / f"o{cycle}n{number}.csv", "a,b\n" * 500)
                sent.append(f"o{cycle}n{number}.csv")
            # The random moment: counted in uploads, because a slow machine has none in any number of milliseconds.
            moment = dice.randint(0, 10)
            wait_for(f"{moment} uploads, or both at their end", lambda lanes=partners, least=moment:
                     sum(len(p.accepted) for p in lanes) >= least or not any(p.is_alive() for p in lanes), 60)
            assert sum(len(p.accepted) for p in partners) >= moment, f"{[p.trouble for p in partners]}\n{instance.logs()}"
            time.sleep(dice.uniform(0, 0.03))
            disk.lose_power()
            end_all(state["pids"].values())
            for partner in partners:
                partner.join()
                during += 0 < len(partner.accepted) < len(partner.jobs)
                accepted += partner.accepted
            disk.come_back()
            instance.restart()
            disk.sync()
            state = json.loads((instance.dir / "state.json").read_text())

        inbound = instance.inbound("Invoices")
        delivered_all(instance, inbound, set(accepted))
        instance.advance("660s")  # what was begun and never accepted is dropped
        delivered = {name: (inbound / name).read_text() for name in names_in(inbound)}
        for name, text in delivered.items():
            assert name in contents, f"{name} was delivered twice"
            assert contents[name] == text, f"{name} is not whole"
        assert during, "the moments leave no time for any upload"

        def offered():
            rows = [f for f in instance.items("files", "list", "--direction", "outbound", "--limit", "1000") if f["state"] != "aborted"]
            return sorted(f["name"] for f in rows if f["state"] == "available") == sorted(sent) and rows
        wait_for("every file for the partner is offered, once", offered, 60)
        there = sorted(p.name for p in (instance.dir / "partners" / "acme" / "tree" / "Outgoing" / "Invoices").iterdir())
        assert there == sorted(f"{name}.pgp" for name in sent)

        def settled():
            report = json.loads(instance.command("ctl", "--json", "files", "check", check=False).stdout)
            return not report["findings"] and report
        wait_for("the journal and the disk agree", settled)
    finally:
        instance.command("down", check=False)


@pytest.mark.parametrize("disk", ["xfs"], indirect=True)
def test_what_was_accepted_survives(disk, scratch):
    cycles(disk, scratch, 3, 11)


@pytest.mark.long
@pytest.mark.parametrize("piece", [f"{n}-" for n in range(PIECES)])
@pytest.mark.parametrize("disk", ["xfs", "ext4"], indirect=True)
def test_what_was_accepted_survives_two_hundred_times(disk, scratch, piece):
    cycles(disk, scratch, CYCLES, int(piece[:-1]) + 100)
