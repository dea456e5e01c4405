"""SIGKILL of either program at random moments of the main job: each file is delivered exactly once, each notice
stands in the ledger exactly once, and what the mail server got twice has one Message-ID."""
import collections
import random
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
    return [f for f in instance.items("files", "list") if f["name"] == name]


@pytest.mark.parametrize("options,seed,rounds", [((), 20240, 8), (("--store", "mariadb"), 77, 4)])
def test_a_file_is_delivered_exactly_once_whatever_dies_when(make_instance, scratch, options, seed, rounds):
    instance, dice = make_instance(*options), random.Random(seed)
    for number in range(rounds):
        name = f"round{number}.csv"
        plain = scratch / name
        plain.write_text(f"{name},{number}\n" * 40000)
        sealed = instance.seal(plain, scratch / f"{name}.pgp")
        put = f"put {sealed} /Incoming/Invoices/"
        with Killer(instance, dice, 1.2) as killer:
            accepted = instance.sftp(put, check=False).returncode == 0
        # Without an OK the partner looks whether it arrived and else sends it again, as people do. What broke
        # before its CLOSE stays a partial and is replaced by that.
        if not accepted and not in_journal(instance, sealed.name):
            instance.sftp(put)
        instance.wait_state(sealed.name, "archived", seconds=60)
        delivered = instance.inbound("Invoices", name)
        assert delivered.read_bytes() == plain.read_bytes(), killer
        assert len(in_journal(instance, sealed.name)) == 1, killer
        listing = instance.sftp("ls /Archive/Incoming/Invoices").stdout
        assert listing.count(sealed.name) == 1, f"{killer}: {listing}"
    assert sorted(p.name for p in instance.inbound("Invoices").iterdir()) == [f"round{n}.csv" for n in range(rounds)]
    assert not [f for f in instance.items("files", "list") if f["state"].lower() not in ("archived",)]


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
