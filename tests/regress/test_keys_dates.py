"""Calendar and clock at the real daemon: months and leap days, the last second of a day, and a machine whose clock is set
wrong while the daemon runs."""
import datetime
import os
import pathlib
import signal
import subprocess
import time

import pytest

from conftest import wait_for
from keys_api import Api, DAY, Gateway

UTC = datetime.timezone.utc


def at(*when):
    return int(datetime.datetime(*when, tzinfo=UTC).timestamp())


def to(api, seconds):
    api.advance(seconds - api.now() // 1000)


# ---------------------------------------------------------------------------- the calendar; the clock moves on from test to test
def expires(api, lifetime):
    return datetime.datetime.fromtimestamp(api.custom(lifetimeDuration=lifetime)["expirationDate"] // 1000, UTC)


def test_a_month_from_the_31st_of_january_ends_with_february(api):
    year = datetime.datetime.fromtimestamp(api.now() // 1000, UTC).year + 1
    if year % 4 == 0:
        year += 1
    to(api, at(year, 1, 31, 12))
    assert expires(api, "P1M") == datetime.datetime(year, 3, 1, tzinfo=UTC), "good through the 28th of February, 23:59:59"
    assert expires(api, "P2M") == datetime.datetime(year, 4, 1, tzinfo=UTC), "good through the 31st of March"
    assert expires(api, "P3M") == datetime.datetime(year, 5, 1, tzinfo=UTC), "good through the 30th of April"
    assert expires(api, "P1M1D") == datetime.datetime(year, 3, 2, tzinfo=UTC)


def test_leap_days(api):
    year = datetime.datetime.fromtimestamp(api.now() // 1000, UTC).year + 1
    year += -year % 4
    to(api, at(year, 1, 31, 23, 59, 50))
    assert expires(api, "P1M") in (datetime.datetime(year, 3, 1, tzinfo=UTC), datetime.datetime(year, 3, 2, tzinfo=UTC)), "through the 29th"
    to(api, at(year, 2, 29, 6))
    assert expires(api, "P1Y") == datetime.datetime(year + 1, 3, 1, tzinfo=UTC), "good through the 28th of February"
    assert expires(api, "P4Y") == datetime.datetime(year + 4, 3, 1, tzinfo=UTC), "good through the 29th"
    assert expires(api, "P1D") == datetime.datetime(year, 3, 2, tzinfo=UTC)


def test_the_last_second_of_the_day_is_good_and_the_first_of_the_next_is_not(instance, api):
    """Every answer is held against the clock before and after it: none of the second between may be wrong."""
    gateway = Gateway(instance)
    key = api.custom(lifetimeDuration="P1D")
    end = key["expirationDate"]
    assert end % (DAY * 1000) == 0
    to(api, end // 1000 - 2)
    good = bad = 0
    while bad < 20:
        before = api.now()
        status = gateway.status(key)
        after = api.now()
        if after < end:
            assert status == 200, (after, end)
            good += 1
        elif before >= end:
            assert status == 401, (before, end)
            bad += 1
        assert before < end + 10_000
    assert good > 20
    wait_for("the state follows", lambda: api.status(key) == "EXPIRED")


# ---------------------------------------------------------------------------- a clock that is set wrong
class Machine:
    """The daemon of an instance, on a machine whose wall clock can be set: libfaketime reads the offset from a file. The
    boot clock goes on as it does."""

    def __init__(self, instance):
        library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        self.instance = instance
        self.offset = instance.dir / "clock.offset"
        self.set(0)
        instance.stop("daemon")
        log = open(instance.dir / "log" / "daemon.log", "ab")
        env = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": self.offset, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
               # Under a tracer LeakSanitizer cannot look for leaks, and calls that an error.
               "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
        # Whether this machine's own clock is synchronised is not for the daemon to know.
        tracer = ["strace", "-D", "-f", "-q", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=adjtimex,clock_adjtime",
                  "-e", "inject=adjtimex,clock_adjtime:error=EPERM", *[word for name, value in env.items() for word in ("-E", f"{name}={value}")]]
        daemon = pathlib.Path(os.environ["SALLYPORT_BUILD"]) / "daemon" / "sallyportd"
        self.process = subprocess.Popen([*tracer, daemon, "--config", instance.dir / "sallyport.toml"], stdout=log, stderr=log, cwd=instance.dir)
        self.api, self.gateway = Api(instance), Gateway(instance)
        wait_for("the daemon answers", self.answers, 30)

    def answers(self):
        assert self.process.poll() is None, self.instance.logs()
        try:
            return self.api.send("GET", "/admin/status").status == 200
        except OSError:
            return False

    def set(self, seconds):
        fresh = self.offset.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.offset)

    def stepped(self):
        return any(c["name"] == "clock.stepped" for c in self.api.get("/admin/status")["health"])

    def next_pass(self):
        """When keys are looked at next."""
        return next(w["next"] for w in self.api.get("/admin/status")["scheduler"] if w["name"] == "lifecycle")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@pytest.fixture
def machine(make_instance):
    made = Machine(make_instance())
    yield made
    made.end()


def key_that_ends_tonight(machine):
    midnight = (int(time.time()) // DAY + 1) * DAY
    return machine.api.create("INTEGRATION", displayName="ends tonight", expirationDate=midnight * 1000,
                              contact={"firstName": "A", "lastName": "B", "login": "a", "email": "a@example.net"})


def ended(machine, key):
    """Who was told of the key's end, if it has been ended."""
    log = machine.api.post("/activities/public", {"resourceIds": [key["id"]], "operations": ["EXPIRE"]}).json["items"]
    told = [n["recipient"] for n in machine.api.notices(key["id"]) if n["kind"] == "key_expired"]
    assert bool(log) == bool(told) and len(log) <= 1
    return sorted(told)


def test_a_clock_set_a_day_forward_and_back_ends_no_key(machine):
    """Verification goes by the wall clock; what is final waits until somebody says that the clock is right."""
    api, gateway = machine.api, machine.gateway
    key, steady = key_that_ends_tonight(machine), machine.api.custom(lifetimeDuration="P3M")
    assert gateway.status(key) == 200 and not machine.stepped()
    machine.set(DAY)
    wait_for("the step is seen", machine.stepped, 30)
    assert gateway.status(key) == 401 and gateway.status(steady) == 200, "the wall clock counts"
    assert not ended(machine, key), "nothing final happens meanwhile"
    machine.set(0)
    wait_for("it is what it was", lambda: gateway.status(key) == 200, 30)
    assert api.status(key) == "SOON_TO_BE_EXPIRED" and machine.stepped(), "two steps make no trust"
    machine.instance.ctl("clock", "confirm")
    assert not machine.stepped() and gateway.status(key) == 200
    wait_for("the key is due tonight, not when it would have been by the wrong clock",
             lambda: machine.next_pass() == key["expirationDate"], 30)
    assert not ended(machine, key)


@pytest.mark.long
def test_a_clock_set_a_day_forward_that_is_right_ends_keys_when_it_is_confirmed(machine):
    """Within the minute after which held keys are looked at again."""
    api, gateway = machine.api, machine.gateway
    key, steady = key_that_ends_tonight(machine), machine.api.custom(lifetimeDuration="P3M")
    machine.set(DAY)
    wait_for("the step is seen", machine.stepped, 30)
    assert not ended(machine, key)
    machine.instance.ctl("clock", "confirm")
    assert wait_for("the key has ended", lambda: ended(machine, key), 90) == ["a@example.net", "admin@example.org"]
    machine.set(0)
    wait_for("the step back is seen", machine.stepped, 30)
    machine.instance.ctl("clock", "confirm")
    assert api.status(key) == "EXPIRED" and gateway.status(key) == 401, "what is final stays"
    assert len(ended(machine, key)) == 2, "nothing twice"
    assert api.status(steady) == "ENABLED" and gateway.status(steady) == 200
