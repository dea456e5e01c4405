"""sallyportctl key ...: all of it on a real instance, with and without a person at a terminal."""
import datetime
import hashlib
import json
import os
import pty
import select
import subprocess
import time

import pytest

from keys_api import DAY, instant

SENTENCE = "I understand that it cannot be reactivated"


def make(instance, name="a key", template="SEARCH_PAGES", *more):
    return instance.json("key", "create", name, "--template", template, *more)


def at_a_terminal(instance, *args, answers):
    """The command as a person sees it: gives what it printed after typing the answers."""
    argv = [instance.env["SALLYPORTCTL"], "--socket", instance.env["SALLYPORT_ADMIN_SOCKET"], *args]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(argv[0], argv)
    shown, answers, end = b"", list(answers), time.monotonic() + 30
    while time.monotonic() < end:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if ready:
            try:
                piece = os.read(terminal, 4096)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        elif answers and shown:  # it waits for us
            os.write(terminal, answers.pop(0).encode() + b"\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()


# ---------------------------------------------------------------------------- one key
def test_a_new_value_is_printed_once_and_alone_on_standard_output(instance, gateway):
    result = instance.command("ctl", "key", "create", "scripted", "--privilege", "PLATFORM/SOURCE/VIEW@*", "--lifetime", "P1M", "--allow-ip", "203.0.113.0/24",
                              "--description", "for a script")
    value = result.stdout.strip()
    assert len(value) == 40 and gateway.ask(value, X_Forwarded_For="203.0.113.4").status == 200
    assert value not in result.stderr and "never again" in result.stderr
    key_id = next(k["id"] for k in instance.items("key", "list") if k["displayName"] == "scripted")
    for args in (("key", "show", key_id), ("key", "list"), ("--json", "key", "list"), ("activity", "list"), ("key", "why", key_id)):
        said = instance.ctl(*args)
        assert value not in said and (key_id in said or args[0] == "activity")
    assert value not in (instance.dir / "log" / "daemon.log").read_text(errors="replace")
    fresh = instance.command("ctl", "key", "regenerate", key_id, "--overlap", "2h").stdout.strip()
    assert [gateway.ask(v, X_Forwarded_For="203.0.113.4").status for v in (value, fresh)] == [200, 200]
    assert instance.command("ctl", "key", "duplicate", key_id, "--name", "twin").stdout.strip() not in ("", value, fresh)


def test_operations_and_what_they_say(instance, gateway):
    key = make(instance)
    assert instance.json("key", "update", key["id"], "--name", "renamed", "--deny-ip", "203.0.113.9", "--description", "")["displayName"] == "renamed"
    assert instance.json("key", "update", key["id"], "--deny-ip", "")["deniedIps"] == []
    assert instance.json("key", "disable", key["id"])["status"] == "DISABLED" and gateway.status(key) == 401
    assert instance.json("key", "activate", key["id"])["status"] == "ENABLED" and gateway.status(key) == 200
    said = instance.ctl_fails("key", "extend", key["id"])
    assert "not about to be disabled" in said and len(said.strip().splitlines()) == 1
    said = instance.ctl_fails("key", "revoke", key["id"])
    assert "--yes" in said and gateway.status(key) == 200
    assert instance.json("key", "revoke", key["id"], "--yes")["status"] == "REVOKED" and gateway.status(key) == 401
    assert "--yes" in instance.ctl_fails("key", "delete", key["id"])
    other = make(instance)
    instance.ctl("key", "delete", key["id"], other["id"], "--yes")
    assert "no such API key" in instance.ctl_fails("key", "show", key["id"])
    assert "no such API key" in instance.ctl_fails("key", "show", "x/../../admin/status")
    assert "greater than zero" in instance.ctl_fails("key", "create", "x", "--lifetime", "P0D")
    assert "OWNER/DOMAIN" in instance.ctl_fails("key", "create", "x", "--privilege", "nonsense")


def test_disabling_a_custom_key_asks_for_the_sentence(instance, gateway):
    key = make(instance, "custom", "CUSTOM", "--privilege", "PLATFORM/SOURCE/VIEW")
    assert "--yes" in instance.ctl_fails("key", "disable", key["id"]) and gateway.status(key) == 200
    code, shown = at_a_terminal(instance, "key", "disable", key["id"], answers=["yes"])
    assert code != 0 and SENTENCE in shown and gateway.status(key) == 200
    code, shown = at_a_terminal(instance, "key", "disable", key["id"], answers=[SENTENCE])
    assert code == 0 and gateway.status(key) == 401, shown
    again = make(instance, "custom", "CUSTOM", "--privilege", "PLATFORM/SOURCE/VIEW")
    instance.ctl("key", "disable", again["id"], "--yes")
    assert gateway.status(again) == 401


def test_deleting_asks_a_person(instance, gateway):
    key = make(instance)
    code, _ = at_a_terminal(instance, "key", "delete", key["id"], answers=["n"])
    assert code != 0 and gateway.status(key) == 200
    code, shown = at_a_terminal(instance, "key", "delete", key["id"], answers=["y"])
    assert (code == 0) == (gateway.status(key) == 401), shown
    if code != 0:  # a longer word is wanted
        code, shown = at_a_terminal(instance, "key", "delete", key["id"], answers=["yes"])
        assert code == 0 and gateway.status(key) == 401, shown


def test_exposure(instance):
    key = make(instance, "custom", "CUSTOM", "--privilege", "PLATFORM/SOURCE/VIEW")
    assert "FLAGGED" in instance.ctl("key", "expose", key["id"], "--severity", "LOW", "--reason", "in a log")
    result = subprocess.run([instance.env["SALLYPORTCTL"], "--socket", instance.env["SALLYPORT_ADMIN_SOCKET"], "key", "expose", "--value-stdin",
                             "--severity", "LOW", "--reason", "in a paste", "--url", "https://example.com/p"],
                            input=key["value"] + "\n", text=True, capture_output=True, check=True)
    assert "ADDED" in result.stdout
    digest = hashlib.sha256(key["value"].encode()).hexdigest()
    assert "ADDED" in instance.ctl("key", "expose", "--sha256", digest, "--severity", "HIGH", "--reason", "in a repository", "--source", "GITHUB")
    assert "REPEATED" in instance.ctl("key", "expose", "--sha256", digest, "--severity", "HIGH", "--reason", "in a repository", "--source", "GITHUB")
    shown = instance.ctl("key", "show", key["id"])
    assert "in a paste" in shown and "deactivated at" in shown
    instance.ctl("key", "withdraw", key["id"], "--reason", "a test & more = all\r\nof it")
    assert "exposureReport" not in instance.json("key", "show", key["id"])
    assert "exactly one" in instance.ctl_fails("key", "expose", "--severity", "LOW", "--reason", "x")


# ---------------------------------------------------------------------------- looking ahead
def test_looking_ahead_agrees_with_itself(instance, api):
    key = make(instance, "ahead; with, commas\\", "CUSTOM", "--privilege", "PLATFORM/SOURCE/VIEW", "--lifetime", "P30D")
    ends = key["expirationDate"]
    events = [e for e in instance.json("key", "simulate", "--days", "40") if e["apiKeyId"] == key["id"]]
    told = [(e["at"], e.get("kind") or e["status"], e.get("offsetSeconds")) for e in events]
    assert told == [(ends - 7 * DAY * 1000, "key_expiring", 7 * DAY), (ends - 2 * DAY * 1000, "key_expiring", 2 * DAY), (ends, "EXPIRED", None),
                    (ends, "key_expired", 0)]
    assert all(e["recipients"] == ["admin@example.org"] for e in events if e["what"] == "MAIL")
    asleep = f"{iso(ends - 8 * DAY * 1000)}/{iso(ends - DAY * 1000)}"
    slept = [e for e in instance.json("key", "simulate", "--days", "40", "--asleep", asleep) if e["apiKeyId"] == key["id"]]
    assert [(e["at"], e.get("kind") or e["status"]) for e in slept] == [(ends - DAY * 1000, "key_expiring"), (ends, "EXPIRED"), (ends, "key_expired")]
    why = instance.json("key", "why", key["id"])
    assert {t["timer"]: t["runs"] for t in why["timers"]} == {"EXPIRY": True, "INACTIVITY": True, "EXPOSURE": False}
    assert [e["at"] for e in why["next"]][:3] == [e["at"] for e in events][:3] and why["usable"]
    deadlines = [d for d in instance.json("key", "calendar", "--days", "40") if d["apiKeyId"] == key["id"]]
    assert [(d["at"], d["timer"], d["status"]) for d in deadlines] == [(ends, "EXPIRY", "EXPIRED")]
    ics = instance.ctl("key", "calendar", "--days", "40", "--ics")
    check_icalendar(ics, ends, "ahead\\; with\\, commas\\\\")
    assert api.key(key)["status"] == "ENABLED", "looking changes nothing"
    for command in (("simulate", "--days", "0"), ("simulate", "--days", "99999"), ("simulate", "--asleep", "x"), ("calendar", "--days", "x"), ("why", "none")):
        instance.ctl_fails("key", *command)
    for command in (("simulate",), ("calendar",), ("why", key["id"])):
        assert key["displayName"][:5] in instance.ctl("key", *command)


def iso(millis):
    return datetime.datetime.fromtimestamp(millis // 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_icalendar(text, ends, words):
    raw = text.encode()
    lines = raw.replace(b"\r\n", b"\n").split(b"\n")
    assert all(len(line) <= 75 for line in lines) and lines[0] == b"BEGIN:VCALENDAR" and b"VERSION:2.0" in lines
    unfolded = raw.replace(b"\r\n", b"\n").replace(b"\n ", b"").decode()
    event = next(e for e in unfolded.split("BEGIN:VEVENT")[1:] if words in e)
    assert "DTSTART:" + iso(ends).replace("-", "").replace(":", "") in event and "UID:" in event and "END:VEVENT" in event


# ---------------------------------------------------------------------------- import
CSV = '''displayName,apiKeyTemplateId,value,sha256,last4,privileges,allowedIps,expirationDate,createdDate,lastUsedDate,contact.firstName,contact.lastName,contact.login,contact.email
"quoted, with ""words""",CUSTOM,an-old-value-of-ours-1,,,PLATFORM/SOURCE/VIEW PLATFORM/FIELD/VIEW,203.0.113.0/24 2001:db9::/32,2049-12-31,2020-01-01,,,,,
hashed,SEARCH_PAGES,,{hash},9zzz,,,,2026-01-01,2026-11-01,,,,
bridge,INTEGRATION,an-old-value-of-ours-3,,,,,,,,Ada,Byron,csv-ada,csv-ada@example.net
'''


def test_import_from_csv_with_a_dry_run(instance, api, gateway, scratch):
    path = scratch / "keys.csv"
    path.write_text(CSV.format(hash=hashlib.sha256(b"somewhere-else-9zzz").hexdigest()))
    before = {k["id"] for k in api.get("/apikeys")}
    dry = instance.json("key", "import", "--dry-run", path)
    assert dry["dryRun"] and dry["count"] == 3 and {k["id"] for k in api.get("/apikeys")} == before
    assert gateway.ask("an-old-value-of-ours-3").status == 401
    instance.ctl("key", "import", path)
    new = {k["displayName"]: k for k in api.get("/apikeys") if k["id"] not in before}
    assert set(new) == {'quoted, with "words"', "hashed", "bridge"}
    quoted = new['quoted, with "words"']
    assert quoted["expirationDate"] == 2524608000000 and quoted["allowedIps"] == ["203.0.113.0/24", "2001:db9::/32"] and len(quoted["privileges"]) == 2
    assert gateway.ask("an-old-value-of-ours-1", X_Forwarded_For="203.0.113.1").status == 200
    assert gateway.ask("somewhere-else-9zzz").status == 200 and new["hashed"]["value"] == "xx*****9zzz"
    assert "expirationDate" not in new["bridge"] and new["bridge"]["contact"]["email"] == "csv-ada@example.net"
    assert instance.ctl_fails("key", "import", path).count("exists already") == 1, "nothing twice"
    assert len(api.get("/apikeys")) == len(before) + 3


@pytest.mark.parametrize("row,said", [
    ({"displayName": "x"}, "value or sha256"), ({"displayName": "x", "value": "short"}, "16 to 256"), ({"displayName": "x", "sha256": "zz"}, "64 hex"),
    ({"value": "a-value-of-some-length"}, "displayName"), ({"displayName": "x" * 126, "value": "a-value-of-some-length"}, "125"),
    ({"displayName": "x", "value": "a-value-of-some-length", "apiKeyTemplateId": "NONE"}, "NONE"),
    ({"displayName": "x", "value": "a-value-of-some-length", "privileges": ["PLATFORM/API_KEY/EDIT"]}, "API_KEY"),
    ({"displayName": "x", "value": "a-value-of-some-length", "allowedIps": ["10.0.0.0/8"]}, "private"),
    ({"displayName": "x", "value": "a-value-of-some-length", "lastUsedDate": "yesterday"}, "lastUsedDate"),
    ({"displayName": "x", "value": "a-value-of-some-length", "expirationDate": "2020-01-01"}, "past"),
    ({"displayName": "x", "value": "good-value-of-the-first"}, "exists already"), (7, "")])
def test_an_import_is_all_or_nothing_and_names_the_row(instance, api, scratch, row, said):
    path = scratch / "keys.json"
    path.write_text(json.dumps([{"displayName": "first", "value": "good-value-of-the-first"}, row]))
    before = len(api.get("/apikeys"))
    message = instance.ctl_fails("key", "import", path)
    assert said in message and ("key 2" in message or said == ""), message
    assert len(api.get("/apikeys")) == before


def test_files_that_are_no_import(instance, scratch):
    for name, text in (("a.json", "{"), ("b.json", "[]"), ("c.json", "7"), ("d.csv", ""), ("e.csv", "displayName,value\n"), ("f.csv", "nonsense\nx\n"),
                       ("g.csv", 'displayName,value\n"open,x\n'), ("h.json", '{"keys": 7}')):
        path = scratch / name
        path.write_text(text)
        said = instance.ctl_fails("key", "import", path)
        assert said.startswith("sallyportctl: ") and len(said.strip().splitlines()) == 1, (name, said)
    assert "annot read" in instance.ctl_fails("key", "import", scratch / "none.json")


def test_instants_are_told_in_json_as_milliseconds(api):
    key = api.custom()
    assert instant(key["createdDate"]) == key["createdDate"] // 1000 and key["createdDate"] % 1000 == 0
