"""Single system calls of the daemon that fail (strace injects it) while a file goes through: it is retried, delivered once, whole."""
import os
import signal
import subprocess

import pytest

from conftest import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may inject errors into another process everywhere")

CALLS = ["fsync", "fdatasync", "renameat2", "pwrite64", "openat2", "unlinkat", "copy_file_range"]
ERRORS = ["EIO", "ENOSPC"]


class Injection:
    """While the body of the with runs, the `when`th such call of each of the daemon's threads fails."""

    def __init__(self, instance, call, error, when, log):
        self.log = log
        self.process = subprocess.Popen(["strace", "-f", "-q", "-o", log, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}",
                                         "-p", instance.env["SALLYPORTD_PID"]], stderr=subprocess.PIPE, text=True)
        pid = instance.env["SALLYPORTD_PID"]

        def attached():
            tasks = os.listdir(f"/proc/{pid}/task")
            tracers = [next(line for line in open(f"/proc/{pid}/task/{t}/status", encoding="ascii") if line.startswith("TracerPid")).split()[1]
                       for t in tasks]
            return all(t == str(self.process.pid) for t in tracers)

        wait_for("strace is attached", attached)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)

    @property
    def injected(self):
        return self.log.read_text().count("(INJECTED)")


def run(make_instance, scratch, calls, errors, whens):
    instance = make_instance()
    number, hit = 0, 0
    for call in calls:
        for error in errors:
            for when in whens:
                number += 1
                name = f"file{number}.csv"
                plain = scratch / name
                plain.write_text(f"{name}\n" * 5000)
                sealed = instance.seal(plain, scratch / f"{name}.pgp")
                what = f"{call} fails with {error}, call {when}"
                with Injection(instance, call, error, when, scratch / f"strace{number}") as injection:
                    accepted = instance.sftp(f"put {sealed} /Incoming/Invoices/", check=False).returncode == 0
                    if accepted:
                        instance.wait_state(sealed.name, "archived", seconds=60)
                hit += injection.injected > 0
                if not accepted and instance.file_named(sealed.name) is None or \
                        not accepted and instance.file_named(sealed.name)["state"] in ("aborted", "receiving"):
                    instance.sftp(f"put {sealed} /Incoming/Invoices/")
                wait_for(f"{what}: archived", lambda: [f for f in instance.items("files", "list", "--name", sealed.name) if f["state"] == "archived"], 60)
                delivered = [p for p in instance.inbound("Invoices").iterdir() if p.name.startswith(f"file{number}.") or p.name.startswith(f"file{number}-")]
                assert [p.name for p in delivered] == [name], what
                assert delivered[0].read_bytes() == plain.read_bytes(), what
    assert hit, "no fault was injected: the calls have other names here"
    staging = instance.inbound("..").resolve() / ".staging"
    wait_for("nothing is left in staging", lambda: not list(staging.iterdir()))
    assert instance.command("ctl", "files", "check", check=False).returncode == 0, instance.ctl("--json", "files", "check")


def test_a_failing_call_is_retried(make_instance, scratch):
    run(make_instance, scratch, ["fsync", "renameat2", "openat2"], ["EIO"], [1])


@pytest.mark.long
def test_every_kind_of_call_failing_in_turn(make_instance, scratch):
    run(make_instance, scratch, CALLS, ERRORS, [1, 2, 3])
