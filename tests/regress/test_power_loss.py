"""Power loss: XFS on a loop device that is shut down in mid-work, mounted again, and the programs started anew. An upload that the
client saw accepted is there afterwards, delivered once and whole."""
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

import pytest

from conftest import Instance, wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.xfs") or not shutil.which("xfs_io"), reason="needs root and xfsprogs")


class Disk:
    def __init__(self, scratch):
        self.image = scratch / "disk.img"
        subprocess.run(["truncate", "-s", "400M", self.image], check=True)
        subprocess.run(["mkfs.xfs", "-q", self.image], check=True)
        # Long on purpose: sockets and gpg's home then go to a directory of their own, whose agents keep no file open here.
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="sp-disk-that-loses-its-power-now-and-then-and-comes-back-"))
        self.mount()

    def mount(self):
        result = subprocess.run(["mount", "-o", "loop", self.image, self.path], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            pytest.skip(f"no loop device to mount here (a container?): {result.stderr.strip()}")

    def sync(self):
        """What the test itself keeps there (configuration, state of the instance) is no part of the question."""
        subprocess.run(["sync", "-f", self.path], check=True)

    def lose_power(self):
        subprocess.run(["xfs_io", "-x", "-c", "shutdown", self.path], check=True)

    def unmount(self):
        def gone():
            return subprocess.run(["umount", self.path], capture_output=True, check=False).returncode == 0
        wait_for("the disk can be unmounted", gone)

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=False, capture_output=True)
        self.path.rmdir()


class OnDisk(Instance):
    def __init__(self, directory):
        self.dir = directory
        self.command("up")


@pytest.fixture
def disk(scratch):
    made = Disk(scratch)
    yield made
    made.close()


def cycles(disk, scratch, count, seed):
    dice = random.Random(seed)
    instance = OnDisk(disk.path / "instance")
    state = json.loads((instance.dir / "state.json").read_text())
    accepted, contents = [], {}
    disk.sync()
    try:
        for cycle in range(count):
            batch = []
            for number in range(6):
                name = f"c{cycle}n{number}.csv"
                plain = scratch / name
                plain.write_text(f"{name}\n" * dice.randrange(1, 60000))
                contents[name] = plain.read_text()
                batch.append((name, instance.seal(plain, scratch / f"{name}.pgp")))
            argv = instance.sftp_argv()

            def upload():
                for name, sealed in batch:
                    put = subprocess.run(argv, input=f"put {sealed} /Incoming/Invoices/\n", text=True, capture_output=True, check=False)
                    if put.returncode != 0:
                        return
                    accepted.append(name)

            feeder = threading.Thread(target=upload)
            feeder.start()
            time.sleep(dice.uniform(0, 3))  # the random moment itself, not a wait for anything
            # What the programs know of themselves is read before the disk goes.
            disk.lose_power()
            for pid in state["pids"].values():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            feeder.join()
            disk.unmount()
            disk.mount()
            instance.restart()
            disk.sync()
            state = json.loads((instance.dir / "state.json").read_text())
            for name in accepted[-6:]:
                instance.wait_state(f"{name}.pgp", "archived", seconds=60)
        instance.advance("660s")  # what was begun and never accepted is dropped
        delivered = {p.name: p.read_text() for p in instance.inbound("Invoices").iterdir()}
        assert set(accepted) <= set(delivered), "an accepted upload was lost"
        for name, text in delivered.items():
            assert name in contents, f"{name} was delivered twice"
            assert contents[name] == text, f"{name} is not whole"
        assert accepted, "the moments leave no time for any upload"
        report = json.loads(instance.command("ctl", "--json", "files", "check", check=False).stdout)
        assert not report["findings"], report
    finally:
        instance.command("down", check=False)


def test_what_was_accepted_survives(disk, scratch):
    cycles(disk, scratch, 3, 11)


@pytest.mark.long
def test_what_was_accepted_survives_two_hundred_times(disk, scratch):
    cycles(disk, scratch, 200, 12)
