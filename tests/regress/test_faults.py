"""Single system calls of either program that fail (strace injects it) while a file goes through: it is retried, delivered
once, whole, with one receipt. In the long run every call of a kind fails in turn, until a file goes through without having made so many."""
import json
import os
import subprocess

import pytest

from conftest import wait_for
from injection import Injection

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may inject errors into another process everywhere")

# What a program does to files, and how many of each kind are tried at most. pwrite64 of the daemon is the store's and the
# copy of a plain file; write is gpg's, which strace follows, and the front's lists'. Not read: GPGME runs off its buffer when the pipe from
# "gpg --version" fails, which a pipe never does.
CALLS = {
    ("daemon", "fsync"): 12, ("daemon", "fdatasync"): 12, ("daemon", "renameat2"): 6, ("daemon", "pwrite64"): 24, ("daemon", "write"): 24,
    ("daemon", "openat2"): 16, ("daemon", "unlinkat"): 6, ("daemon", "copy_file_range"): 3, ("daemon", "ftruncate"): 3, ("daemon", "fchmod"): 4,
    ("daemon", "linkat"): 3,
    ("front", "fsync"): 6, ("front", "renameat2"): 3, ("front", "pwrite64"): 3, ("front", "write"): 4, ("front", "openat2"): 10,
}
ERRORS = ["EIO", "ENOSPC"]


def rows_of(instance, name):
    return [f for f in instance.items("files", "list", "--name", name) if f["name"] == name and f["state"] != "aborted"]


def tasks_of(instance, row):
    return instance.json("files", "show", row["id"])["pending"]


def one_file(instance, scratch, number, kind, program, call, error, when):
    """A file goes through while a call fails; how many did."""
    name = f"file{number}.csv"
    what = f"{call} of the {program} fails with {error}, call {when}, {kind} file"
    plain = scratch / name
    plain.write_text(f"{name}\n" * 5000)
    sealed = instance.seal(plain, scratch / f"{name}.pgp") if kind == "sealed" else plain
    put = f"put {sealed} /Incoming/Invoices/"
    with Injection(instance, program, call, error, when, scratch / f"strace{number}") as injection:
        accepted = instance.sftp(put, check=False).returncode == 0
        if accepted:
            # Each gpg that is started meanwhile meets the error again: such a file waits until it is over. And write also carries
            # what gpg says to its agent; without that nobody could open the message, which is kept with a reason.
            def settled():
                return [f for f in rows_of(instance, sealed.name) if f["state"] == "archived" or call == "write" and (f["state"] == "failed" or f["attempts"])]
            rows = wait_for(f"{what}: an end", settled, 60)
            # The receipt meets the error too, or is made.
            wait_for(f"{what}: the receipt is tried", lambda: all(task["attempts"] for task in tasks_of(instance, rows[0])), 60)
    for row in rows_of(instance, sealed.name):
        if row["state"] == "failed" and call == "write":
            wait_for(f"{what}: the original is kept", lambda at=row["location"]: (instance.dir / "partners/acme/tree" / at[1:]).exists())
            instance.ctl("files", "retry", row["id"])
    # Without an OK the partner looks after a while whether it arrived after all, and else sends it again.
    if not accepted:
        if not rows_of(instance, sealed.name):
            instance.advance("660s")
        if not rows_of(instance, sealed.name):
            instance.sftp(put)
    row, = wait_for(f"{what}: archived", lambda: [f for f in rows_of(instance, sealed.name) if f["state"] == "archived"], 60)
    if tasks_of(instance, row):
        instance.advance("10min")
    wait_for(f"{what}: its receipt is made", lambda: not tasks_of(instance, row), 60)
    delivered = [p for p in instance.inbound("Invoices").iterdir() if p.name.startswith((f"file{number}.", f"file{number}-"))]
    assert [p.name for p in delivered] == [name], what
    assert delivered[0].read_bytes() == plain.read_bytes(), what
    return injection.injected


def each_has_its_receipt(instance):
    """One each, whole, and of the last outcome."""
    receipts = instance.dir / "partners/acme/tree/Outgoing/Receipts"
    rows = [f for f in instance.items("files", "list", "--limit", "1000") if f["state"] == "archived"]
    assert sorted(p.name for p in receipts.iterdir()) == sorted(f"{f['name']}.{f['id']}.json.asc" for f in rows)
    for path in receipts.iterdir():
        said = subprocess.run(["gpg", "--homedir", instance.env["PARTNER_PGP_HOME"], "--batch", "--decrypt", path],
                              capture_output=True, check=True).stdout
        assert json.loads(said)["outcome"] == "delivered", path
    sending = instance.dir / "partners/acme/sending"
    assert not list(sending.iterdir()), "nothing is left of those that were not made"


def nothing_is_left(instance):
    each_has_its_receipt(instance)
    staging = instance.inbound("..").resolve() / ".staging"
    wait_for("nothing is left in staging", lambda: not list(staging.iterdir()))
    instance.advance("660s")  # an upload that was begun and never accepted is dropped

    def agreed():
        return instance.command("ctl", "files", "check", check=False).returncode == 0
    wait_for("the journal and the disk agree", agreed)
    assert not [f for f in instance.items("files", "list", "--limit", "1000") if f["state"] not in ("archived", "aborted")]


def in_turn(make_instance, scratch, program, call, most, kinds):
    instance = make_instance("--option", "partner.receipts=true", *(() if "plain" not in kinds else ("--option", 'partner.signature="optional"')))
    number, hit = 0, 0
    for kind in kinds:
        for error in ERRORS:
            for when in range(1, most + 1):
                number += 1
                injected = one_file(instance, scratch, number, kind, program, call, error, when)
                hit += injected > 0
                if not injected:
                    break
    nothing_is_left(instance)
    return hit


def test_a_failing_call_is_retried(make_instance, scratch):
    instance = make_instance("--option", "partner.receipts=true")
    cases = [("daemon", "fsync", "EIO"), ("daemon", "renameat2", "EIO"), ("daemon", "openat2", "EIO"), ("front", "fsync", "EIO"),
             ("front", "renameat2", "EIO"), ("daemon", "linkat", "EPERM")]  # the last: a file system where no file has two names
    for number, (program, call, error) in enumerate(cases):
        assert one_file(instance, scratch, number, "sealed", program, call, error, 1), f"{call} of the {program} has another name here"
    nothing_is_left(instance)


@pytest.mark.long
@pytest.mark.parametrize("program,call", CALLS)
def test_every_kind_of_call_failing_in_turn(make_instance, scratch, program, call):
    kinds = ["plain"] if call in ("copy_file_range",) else ["sealed", "plain"] if program == "daemon" else ["sealed"]
    hit = in_turn(make_instance, scratch, program, call, CALLS[program, call], kinds)
    # A file may be copied by sharing its blocks, and what was cut short need not be.
    assert hit or call in ("copy_file_range", "ftruncate"), "no fault was injected: the call has another name here"
