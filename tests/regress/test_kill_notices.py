"""kill -9 at random points of days on which 500 notices are due: none is missing, none stands in the ledger twice, and a
mail comes twice only where the daemon died between the server's answer and its commit, with the same Message-ID."""
import collections
import contextlib
import hashlib
import http.client
import os
import random
import signal
import sqlite3
import threading
import time

import pytest

from conftest import wait_for
from keys_api import Api, DAY, Mails

ADMIN = "admin@example.org"


class Victim:
    def __init__(self, instance, dice):
        self.instance, self.dice, self.kills, self.keys = instance, dice, 0, []
        self.mails = Mails(instance)

    def import_keys(self, count):
        """Keys that expire at one instant in nine days' time."""
        api = Api(self.instance)
        for first in range(len(self.keys), len(self.keys) + count, 250):
            rows = [{"displayName": f"key {n}", "apiKeyTemplateId": "CUSTOM", "lifetimeDuration": "P8D", "last4": "0000",
                     "sha256": hashlib.sha256(f"{n}".encode()).hexdigest()} for n in range(first, first + 250)]
            self.keys += api.post("/admin/keys/import", {"keys": rows}, expect=201).json["ids"]
        key = api.get(f"/apikeys/{self.keys[-1]}")
        return key["expirationDate"] // 1000

    def rows(self):
        """The ledger, read beside the daemon: it may be dead."""
        with contextlib.closing(sqlite3.connect(self.instance.dir / "sallyport.db", timeout=30)) as database:
            return database.execute("SELECT subject_id, kind, time_offset, recipient, cycle_at, state FROM notice").fetchall()

    def kill(self, after):
        time.sleep(after)  # the random moment itself
        os.kill(int(self.instance.env["SALLYPORTD_PID"]), signal.SIGKILL)
        self.instance.kill("daemon")  # waits until it has gone
        self.kills += 1

    def through(self, when, due, kills):
        """Moves to `when` and kills until all `due` notices are sent, `kills` times at most."""
        def advance():
            # The daemon may die of it; what the clock says afterwards counts.
            with contextlib.suppress(OSError, http.client.HTTPException, AssertionError, ValueError):
                api = Api(self.instance)
                if (by := when - api.now() // 1000) > 0:
                    api.advance(by)

        def settled():
            states = collections.Counter(state for *_, state in self.rows())
            return states["sent"] == due and not states["pending"] and not states["claimed"]

        killed = 0
        while killed < kills and not settled():
            mover = threading.Thread(target=advance)
            mover.start()
            self.kill(self.dice.uniform(0, 0.7))
            mover.join()
            self.instance.restart()
            killed += 1
        advance()
        wait_for(f"{due} notices are sent", settled, 120)


def run(instance, seed, kills, count=500):
    victim = Victim(instance, random.Random(seed))
    due = 0
    expected = set()
    while True:
        begun = len(victim.keys)
        ends = victim.import_keys(count)
        for kind, offset in (("key_expiring", 7 * DAY), ("key_expiring", 2 * DAY), ("key_expired", 0)):
            due += count
            expected |= {(key, kind, offset, ADMIN, ends) for key in victim.keys[begun:]}
            victim.through(ends - offset, due, kills - victim.kills)
        if victim.kills >= kills:
            break

    rows = victim.rows()
    assert collections.Counter(row[:5] for row in rows) == collections.Counter(expected), "none missing, none twice"
    assert {row[5] for row in rows} == {"sent"}
    mails = victim.mails.take()
    by_id = collections.Counter(mail["Message-ID"] for mail in mails)
    by_notice = collections.defaultdict(set)
    for mail in mails:
        by_notice[mail["X-Sallyport-Subject"], mail["X-Sallyport-Kind"], int(mail["X-Sallyport-Offset"] or 0)].add(mail["Message-ID"])
    assert len(by_notice) == len(by_id) == len(expected), "each is mailed, under one Message-ID whatever happened"
    assert all(len(ids) == 1 for ids in by_notice.values())
    twice = sum(by_id.values()) - len(by_id)
    assert twice <= victim.kills, "a kill repeats at most the one mail that was under way"
    # The log tells each once, too, and is whole.
    api = Api(instance)
    sent = api.post("/activities/public?perPage=1", {"operations": ["NOTIFY"], "resourceTypes": ["NOTICE"]}).json["totalEntries"]
    assert sent == len(expected)
    verified = api.get("/admin/activity/verify")
    assert verified["good"], verified
    print(f"seed {seed}: {victim.kills} kills, {len(mails)} mails of {len(expected)} notices, {twice} came twice")


def test_ten_kills_on_days_with_500_notices(make_instance):
    run(make_instance("--option", 'log.level="info"'), seed=1, kills=10)


@pytest.mark.long
def test_two_hundred_kills_on_days_with_500_notices(make_instance):
    run(make_instance("--option", 'log.level="info"'), seed=2, kills=200)
