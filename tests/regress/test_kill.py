"""SIGKILL of either program at random moments of the main job: each file is delivered exactly once, each notice
stands in the ledger exactly once, and what the mail server got twice has one Message-ID.

The long run kills at 500 random moments, in pieces that can be run one by one (-k "moments and 3-"), and right before and
right after every call by which a step touches the disk, the store or the other program.
"""
import collections
import pathlib
import random
import struct
import subprocess
import threading
import time

import pytest

from conftest import wait_for


class Killer:
    """Kills one of the programs at a moment within `span` seconds, while the body of the with runs."""

    def __init__(self, instance, dice, span):
        self.instance, self.what, self.after = instance, dice.choice(["daemon", "sftp", "all"]), dice.uniform(0, span)
        self.thread = threading.Thread(target=self.run)

    def run(self):
        time.sleep(self.after)  # the random moment itself, not a wait for anything
        self.instance.kill(self.what)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.thread.join()
        self.instance.restart()

    def __str__(self):
        return f"{self.what} killed after {self.after:.3f} s"


def in_journal(instance, name):
    """Its rows, without uploads that were begun, never accepted, and dropped."""
    return [f for f in instance.items("files", "list", "--name", name) if f["name"] == name and f["state"] != "aborted"]


def seal_one(instance, scratch, name, lines):
    plain = scratch / name
    plain.write_text(f"{name},{lines}\n" * lines)
    return plain, instance.seal(plain, scratch / f"{name}.pgp")


def put_again_if_unknown(instance, sealed, accepted):
    """Without an OK the partner looks after a while whether it arrived and else sends it again, as people do. What broke
    before its CLOSE stays a partial and is replaced by that."""
    if accepted:
        return
    if not in_journal(instance, sealed.name):
        instance.advance("660s")  # until nobody can be at it any more: it is taken or dropped
    if not in_journal(instance, sealed.name):
        instance.sftp(f"put {sealed} /Incoming/Invoices/")


def check_one(instance, plain, sealed, what):
    instance.wait_state(sealed.name, "archived", seconds=60)
    assert instance.inbound("Invoices", plain.name).read_bytes() == plain.read_bytes(), what
    assert len(in_journal(instance, sealed.name)) == 1, what


def check_all(instance, names):
    assert sorted(p.name for p in instance.inbound("Invoices").iterdir()) == sorted(names)
    archived = instance.dir / "partners" / "acme" / "tree" / "Archive" / "Incoming" / "Invoices"
    assert sorted(p.name for p in archived.iterdir()) == sorted(f"{n}.pgp" for n in names)
    assert not [f for f in instance.items("files", "list", "--limit", "1000") if f["state"].lower() not in ("archived", "aborted")]

    def agreed():
        return instance.command("ctl", "files", "check", check=False).returncode == 0
    wait_for("the journal and the disk agree", agreed)


def random_moments(instance, scratch, seed, rounds, span):
    dice = random.Random(seed)
    for number in range(rounds):
        plain, sealed = seal_one(instance, scratch, f"round{number}.csv", dice.choice([1, 5000, 40000, 40000]))
        with Killer(instance, dice, span) as killer:
            accepted = instance.sftp(f"put {sealed} /Incoming/Invoices/", check=False).returncode == 0
        put_again_if_unknown(instance, sealed, accepted)
        check_one(instance, plain, sealed, killer)
    check_all(instance, [f"round{n}.csv" for n in range(rounds)])


@pytest.mark.parametrize("options,seed,rounds", [((), 20240, 8), (("--store", "mariadb"), 77, 4)])
def test_a_file_is_delivered_exactly_once_whatever_dies_when(make_instance, scratch, options, seed, rounds):
    random_moments(make_instance(*options), scratch, seed, rounds, 1.2)


@pytest.mark.long
@pytest.mark.parametrize("piece", [f"{n}-" for n in range(10)])
def test_killed_at_five_hundred_random_moments(make_instance, scratch, piece):
    # Every fifth piece on the other store. An upload with its login and delivery takes about half a second.
    options = ("--store", "mariadb") if int(piece[:-1]) % 5 == 4 else ()
    random_moments(make_instance(*options), scratch, 900 + int(piece[:-1]), 50, 0.7)


class KillAt:
    """Kills a program right before or right after its nth call of a function from now on (kill_at.c, preloaded)."""
    source = pathlib.Path(__file__).with_name("kill_at.c")

    def __init__(self, directory, monkeypatch):
        library, self.path = directory / "kill_at.so", directory / "kill_at"
        subprocess.run(["cc", "-std=gnu11", "-shared", "-fPIC", "-o", library, self.source], check=True)
        self.path.write_bytes(bytes(40))
        monkeypatch.setenv("LD_PRELOAD", str(library))
        monkeypatch.setenv("SALLYPORT_KILL_AT", str(self.path))

    def write(self, program, call, nth, after):
        with open(self.path, "r+b") as order:
            order.write(struct.pack("16s16sii", program.encode(), call.encode(), nth, after))

    def arm(self, program, call, nth, after):
        self.write(program, call, nth, after)

    def disarm(self):
        """True if it has killed."""
        left = struct.unpack("16s16sii", self.path.read_bytes())[2]
        self.write("", "", 0, 0)
        return left <= 0


PROGRAMS = {"daemon": "sallyportd", "front": "sallyport-sftp"}
# How many calls of a kind are tried at most. pwrite64 and fdatasync of the daemon are its store's, so that it dies in the
# middle of commits and right before and after them; send* is what the programs tell each other and the client.
CALLS = {
    ("daemon", "fdatasync"): 20, ("daemon", "fsync"): 20, ("daemon", "renameat2"): 10, ("daemon", "unlinkat"): 10, ("daemon", "openat2"): 40,
    ("daemon", "linkat"): 4, ("daemon", "pwrite64"): 60, ("daemon", "sendmsg"): 10, ("daemon", "posix_spawn"): 4, ("daemon", "fchmod"): 4,
    ("front", "pwrite64"): 4, ("front", "write"): 4, ("front", "fsync"): 6, ("front", "renameat2"): 4, ("front", "sendmsg"): 10, ("front", "openat2"): 10,
}


def archived(instance, name):
    try:
        return [f for f in in_journal(instance, name) if f["state"] == "archived"]
    except AssertionError:  # the daemon is dead
        return []


@pytest.mark.long
@pytest.mark.parametrize("program,call", CALLS)
def test_killed_around_every_call_of_a_kind(make_instance, scratch, monkeypatch, program, call):
    kill_at = KillAt(scratch, monkeypatch)
    instance, files, kills = make_instance(), 0, 0
    for after in (0, 1):
        for nth in range(1, CALLS[program, call] + 1):
            plain, sealed = seal_one(instance, scratch, f"file{files}.csv", 5000)
            files += 1
            kill_at.arm(PROGRAMS[program], call, nth, after)
            accepted = instance.sftp(f"put {sealed} /Incoming/Invoices/", check=False).returncode == 0
            daemon = instance.env["SALLYPORTD_PID"]
            # Either it goes through, or the daemon dies, or a session of the front has died and the client with it.
            wait_for("the end of a file or of a program", lambda pid=daemon, name=sealed.name, ok=accepted: not ok or is_dead(pid)
                     or archived(instance, name), 60)
            died = kill_at.disarm()
            if died and program == "daemon":
                wait_for("what was killed has ended", lambda pid=daemon: is_dead(pid))
            instance.restart()
            put_again_if_unknown(instance, sealed, accepted)
            check_one(instance, plain, sealed, f"{program} killed {'after' if after else 'before'} {call}, call {nth}")
            kills += died
            if not died:
                break
    assert kills, f"nothing died: {call} of the {program} has another name here"
    check_all(instance, [f"file{n}.csv" for n in range(files)])


def is_dead(pid):
    """All its threads are, too: until then its sockets and locks are held."""
    try:
        process = pathlib.Path(f"/proc/{pid}")
        return (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z" and len(list((process / "task").iterdir())) <= 1
    except OSError:
        return True


def identity(row):
    return tuple(str(row.get(k)) for k in ("subjectId", "kind", "cycle", "offset", "recipient", "channel"))


@pytest.mark.parametrize("seed", [5, 6])
def test_every_notice_stands_in_the_ledger_exactly_once(make_instance, seed):
    instance, dice = make_instance(), random.Random(seed)
    keys = [instance.json("key", "create", "--template", "CUSTOM", "--name", f"key {n}", "--lifetime", "P12D", "--privilege",
                          "PLATFORM/SOURCE/VIEW")["id"] for n in range(12)]
    for by in ("6d", "5d", "3d"):  # past the 7-day warning, past the 2-day warning, past the expiry
        with Killer(instance, dice, 0.8):
            instance.command("advance", by, check=False)
    # Wherever the clock was when it died, now it is past all of it.
    instance.advance("14d")

    def settled():
        rows = [r for r in instance.items("notices", "list", "--limit", "1000") if r["subjectId"] in keys]
        return rows if rows and all(r["state"].lower() not in ("pending", "claimed", "sending") for r in rows) else None

    def nudge():
        rows = settled()
        if rows is None:
            instance.advance("2h")  # a retry of a claim that died
        return rows

    rows = wait_for("no notice is left unsent", nudge, 60)
    twice = [i for i, count in collections.Counter(identity(r) for r in rows).items() if count > 1]
    assert not twice, twice
    ended = [k for k in keys if instance.json("key", "show", k)["status"] == "EXPIRED"]
    assert ended == keys
    for key in keys:
        sent = [r for r in rows if r["subjectId"] == key and r["state"].lower() == "sent"]
        assert any("expired" in r["kind"].lower() or str(r.get("offset")) in ("0", "PT0S") for r in sent), (key, rows)
    # A mail that came twice is recognisable: the notices are as many as the different Message-IDs.
    sent = [r for r in rows if r["state"].lower() == "sent"]
    about = [m for m in instance.mails() if any(f"key {n}" in m["Subject"] for n in range(12))]
    assert len({m["Message-ID"] for m in about}) == len(sent)
