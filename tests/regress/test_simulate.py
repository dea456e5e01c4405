"""What `simulate` predicts is what the daemon does: the same transitions and mails, of random keys over 400 days,
with the daemon stopped for days, and the machine asleep for days, in between."""
import collections
import contextlib
import datetime
import hashlib
import json
import os
import random
import sqlite3
import time
import urllib.parse

import pytest

from conftest import Instance
from keys_api import Api, DAY, Mails, instant

DAYS = 400
TIMES_OF_DAY = [3 * 3600 + 1020, 9 * 3600 + 2460, 14 * 3600 + 1380, 20 * 3600 + 660]  # nothing is due then
TRANSITIONS = {"EXPIRE": "EXPIRED", "DISABLE_EXPOSED": "DISABLED_EXPOSED", "DISABLE_FOR_INACTIVITY": "DISABLED_FOR_INACTIVITY"}


def random_key(dice, number, now):
    def day(seconds):
        return seconds * 1000
    created = now - dice.randrange(0, 3 * 365 * DAY)
    key = {"displayName": f"key {number}", "sha256": hashlib.sha256(f"{number}".encode()).hexdigest(), "last4": "0000", "createdDate": day(created)}
    template = dice.choice(["SEARCH_PAGES", "AUTHENTICATED_SEARCH", "CUSTOM", "INTEGRATION"])
    key["apiKeyTemplateId"] = template
    if template == "INTEGRATION":
        key["contact"] = {"firstName": "A", "lastName": "B", "login": f"login{number}", "email": f"contact{number}@example.net"}
    if template in ("CUSTOM", "INTEGRATION") and dice.random() < 0.7:
        key["lifetimeDuration"] = f"P{dice.choice([1, 2, 3, 6, 7, 8, 14, 30, 90, 365, dice.randrange(1, 450)])}D"
    if dice.random() < 0.6:
        key["lastUsedDate"] = day(dice.randrange(created, now + 1))
    key["enabled"] = dice.random() < 0.9
    return key


def choose_sleeps(dice, now, count):
    """Disjoint windows of hours to weeks: [(from, to, whether the daemon is down)]."""
    quiet = [t for t in TIMES_OF_DAY if abs(t - now % DAY) > 1800]
    sleeps, at = [], now - now % DAY
    for _ in range(count):
        begin = at + dice.randrange(1, 2 * DAYS // count) * DAY + dice.choice(quiet)
        end = begin - begin % DAY + dice.choice([1, 1, 2, 3, 9, 21]) * DAY + dice.choice(quiet)
        if end > now + (DAYS - 5) * DAY:
            break
        sleeps.append((begin, end, dice.random() < 0.5))
        at = end - end % DAY + DAY
    return sleeps


class Driver:
    """Moves the daemon through time as if every instant at which it wants to wake had come."""

    def __init__(self, instance):
        self.instance, self.api = instance, Api(instance)

    def now(self):
        return self.api.now() // 1000

    def wants(self):
        """When the lifecycle pass next has something to do."""
        work = {w["name"]: w for w in self.api.get("/admin/status")["scheduler"]}
        due = work["lifecycle"]["next"]
        return instant(due) if due else None

    def to(self, when):
        if (by := when - self.now()) > 0:
            self.api.advance(by)

    def until(self, end):
        while (due := self.wants()) is not None and due < end:
            self.to(max(due, self.now() + 1))
        self.to(end)

    def down(self, until):
        """Stops the daemon and starts it when the clock says `until`."""
        self.instance.stop("daemon")
        with contextlib.closing(sqlite3.connect(self.instance.dir / "sallyport.db")) as database, database:
            changed = database.execute("UPDATE setting SET content = ? WHERE name = 'test_clock.offset'", (str(until - int(time.time())),)).rowcount
        assert changed == 1
        self.instance.restart()
        self.api = Api(self.instance)
        self.api.advance(1)  # what was due is done


def iso(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def compare(instance, count, seed):
    dice = random.Random(seed)
    driver, mails = Driver(instance), Mails(instance)
    driver.api.advance(1)
    begin = driver.now()
    keys = [random_key(dice, number, begin) for number in range(count)]
    ids = []
    for first in range(0, count, 200):
        ids += driver.api.post("/admin/keys/import", {"keys": keys[first:first + 200], "firstRow": first + 1}, expect=201).json["ids"]
    for key_id in dice.sample(ids, count // 4):
        for number in range(dice.choice([1, 1, 2])):
            driver.api.post(f"/apikeys/{key_id}/exposure", {"severity": dice.choice(["HIGH", "MEDIUM", "LOW", "WARN"]), "reason": f"report {number}",
                                                             "suspiciousActivity": dice.random() < 0.5, "url": f"https://example.com/{number}"})
    driver.api.advance(5)
    mails.take()
    sleeps = choose_sleeps(dice, driver.now(), 24)
    from_ = driver.now()
    end = from_ + DAYS * DAY
    query = [("days", DAYS)] + [("asleep", f"{iso(a)}/{iso(b)}") for a, b, _ in sleeps]
    predicted = driver.api.get("/admin/keys/simulate?" + urllib.parse.urlencode(query))
    before = {n["id"] for n in driver.api.notices()}

    for asleep, awake, is_down in sleeps:
        driver.until(asleep)
        if is_down:
            driver.down(awake)
        else:
            driver.to(awake)
    driver.until(end)
    api = driver.api

    # Transitions: the activity log's.
    wanted = collections.Counter((e["apiKeyId"], e["status"], e["deadline"] // 1000) for e in predicted if e["what"] == "TRANSITION")
    done = collections.Counter()
    when = {(e["apiKeyId"], e["status"]): e["at"] // 1000 for e in predicted if e["what"] == "TRANSITION"}
    late = []
    page = 0
    while True:
        answer = api.post(f"/activities/public?perPage=1000&page={page}&from={(from_ - 1) * 1000}",
                          {"resourceTypes": ["API_KEY"], "operations": list(TRANSITIONS)}).json
        for row in answer["items"]:
            content = json.loads(row["content"]) if isinstance(row["content"], str) else row["content"]
            status = TRANSITIONS[row["operation"]]
            done[(row["resourceId"], status, instant(content["due"]))] += 1
            if abs(row["createDate"] // 1000 - when.get((row["resourceId"], status), 0)) > 300:
                late.append((row["resourceId"], status, iso(row["createDate"] // 1000)))
        page += 1
        if page >= answer["totalPages"]:
            break
    assert done == wanted, f"seed {seed}: not predicted {list((done - wanted).items())[:5]}, not done {list((wanted - done).items())[:5]}"
    assert not late, (seed, late[:5])

    # Mails: the sink's, each once.
    wanted = collections.Counter((e["apiKeyId"], e["kind"], e["offsetSeconds"], to) for e in predicted if e["what"] == "MAIL" for to in e["recipients"])
    got = mails.take()
    done = collections.Counter((m["X-Sallyport-Subject"], m["X-Sallyport-Kind"], int(m["X-Sallyport-Offset"] or 0), m["X-Envelope-To"]) for m in got)
    assert done == wanted, f"seed {seed}: not predicted {list((done - wanted).items())[:5]}, not sent {list((wanted - done).items())[:5]}"
    assert len({m["Message-ID"] for m in got}) == len(got)
    # And the ledger's: sent is what was mailed.
    sent = [n for n in api.notices() if n["state"] == "sent" and n["id"] not in before]
    assert {n["messageId"] for n in sent} == {m["Message-ID"].strip("<>") for m in got}
    assert not [n for n in api.notices() if n["state"] in ("pending", "claimed", "failed")]
    return len(wanted), len(predicted), len(sleeps)


@pytest.fixture
def fresh():
    made = Instance("--option", 'activity.keep="1000d"', "--option", "gateway.enabled=true", "--option", 'log.level="info"')
    yield made
    made.down()


def seeds(otherwise):
    return [int(s) for s in os.environ.get("SALLYPORT_SEED", otherwise).split(",")]


@pytest.mark.parametrize("seed", seeds("1"))
def test_sixty_keys_do_what_was_predicted(fresh, seed):
    mails, events, sleeps = compare(fresh, 60, seed)
    assert mails > 60 and sleeps > 5
    print(f"seed {seed}: {events} events, {mails} mails, {sleeps} sleeps")


@pytest.mark.long
@pytest.mark.parametrize("seed", seeds("2"))
def test_a_thousand_keys_do_what_was_predicted(fresh, seed):
    mails, events, sleeps = compare(fresh, 1000, seed)
    assert mails > 1000 and sleeps > 5
    print(f"seed {seed}: {events} events, {mails} mails, {sleeps} sleeps")
