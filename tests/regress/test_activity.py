"""The activity log: what is in it, and that whoever changes it behind the daemon's back is found out."""
import hashlib
import json
import shutil
import sqlite3

import pytest

from conftest import Instance
from keys_api import Api, DAY, instant

TABLES = ("activity", "activity_head", "activity_checkpoint")


@pytest.fixture(scope="module")
def to_tamper_with():
    """An instance with some activity before and after a checkpoint."""
    made = Instance()
    made.api = api = Api(made)
    keys = [api.create("SEARCH_PAGES", displayName=f"key {i}") for i in range(5)]
    for key in keys:
        api.put(f"/apikeys/{key['id']}/disable")
    api.advance(3700)  # the hourly checkpoint
    for key in keys:
        api.put(f"/apikeys/{key['id']}/activate")
    yield made
    made.down()


@pytest.fixture
def log(to_tamper_with):
    """That instance; what a test did to its log is undone."""
    tamper = Tamper(to_tamper_with)
    kept = {table: tamper(f"SELECT * FROM {table}") for table in TABLES}
    assert verify(to_tamper_with)["good"], verify(to_tamper_with)
    yield to_tamper_with
    for table, rows in kept.items():
        tamper(f"DELETE FROM {table}")
        for row in rows:
            tamper(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", *row)


def verify(instance):
    result = instance.command("ctl", "--json", "activity", "verify", check=False)
    report = json.loads(result.stdout)
    assert (result.returncode == 0) == report["good"], result
    return report


def findings(instance):
    report = verify(instance)
    assert not report["good"], report
    text = instance.ctl_fails("activity", "verify")
    found = [finding for chain in report["chains"] for finding in chain["findings"]]
    assert all(finding in text for finding in found)
    return found


class Tamper:
    """The database as somebody with write access to its file has it."""

    def __init__(self, instance):
        self.path = instance.dir / "sallyport.db"

    def __call__(self, statement, *values):
        with sqlite3.connect(self.path, timeout=30) as database:
            rows = database.execute(statement, values).fetchall()
        database.close()
        return rows


def head(tamper):
    return tamper("SELECT MAX(sequence_number) FROM activity")[0][0]


def checkpoint(tamper):
    return tamper("SELECT MAX(sequence_number) FROM activity_checkpoint")[0][0]


# ---------------------------------------------------------------------------- what is in it
def test_every_change_says_who_when_what_and_from_where(instance, api):
    token = Api(instance, instance.env["SALLYPORT_ADMIN_TOKEN"])
    key = token.create("SEARCH_PAGES", displayName="told", description="first words")
    token.put(f"/apikeys/{key['id']}", {"displayName": "told again", "allowedIps": ["203.0.113.7"]})
    token.put(f"/apikeys/{key['id']}/disable")
    token.put(f"/apikeys/{key['id']}/activate")
    api.put(f"/apikeys/{key['id']}/regenerate")
    token.call("POST", f"/apikeys/{key['id']}/exposure", {"severity": "LOW", "reason": "seen"})
    token.put(f"/apikeys/{key['id']}/revoke")
    token.call("PUT", f"/apikeys/{key['id']}/activate", expect=409)
    token.delete(f"/apikeys/{key['id']}")
    rows = token.post("/activities/public", {"resourceIds": [key["id"]]}).json["items"]
    done = [(r["operation"], r["result"]) for r in rows if r["operation"] != "NOTICE"]
    assert done == [("DELETE", "SUCCESS"), ("ENABLE", "FAILURE"), ("REVOKE", "SUCCESS"), ("EXPOSE", "SUCCESS"), ("REGENERATE", "SUCCESS"),
                    ("ENABLE", "SUCCESS"), ("DISABLE", "SUCCESS"), ("UPDATE", "SUCCESS"), ("CREATE", "SUCCESS")]
    who = {r["triggeredBy"]["displayName"] for r in rows if r["operation"] not in ("NOTICE", "REGENERATE")}
    assert who == {"admin@example.org"} and all("127.0.0.1" in r["source"] for r in rows if r["operation"] == "UPDATE")
    update = next(r for r in rows if r["operation"] == "UPDATE")
    assert json.loads(update["content"]) if isinstance(update.get("content"), str) else update
    said = json.dumps(update)
    assert "told again" in said and "203.0.113.7" in said
    assert key["value"] not in json.dumps(rows)
    assert token.get(f"/activities/{update['id']}") == update
    token.refused(404, "ACTIVITY_NOT_FOUND", "GET", "/activities/none")


def test_paging_and_filters(api):
    for i in range(7):
        api.create("SEARCH_PAGES", displayName=f"page {i}")
    everything = api.post("/activities/public?perPage=1000", {}).json
    assert everything["totalEntries"] == len(everything["items"])
    pages = [api.post(f"/activities/public?perPage=3&page={n}", {}).json for n in range(everything["totalEntries"] // 3 + 2)]
    assert [r["id"] for page in pages for r in page["items"]] == [r["id"] for r in everything["items"]]
    only = api.post("/activities/public?perPage=1000", {"operations": ["CREATE"], "resourceTypes": ["API_KEY"]}).json["items"]
    assert only and {(r["operation"], r["resourceType"]) for r in only} == {("CREATE", "API_KEY")}
    assert api.post("/activities/public?from=2100-01-01", {}).json["items"] == []
    assert api.post("/activities/public?page=999999", {}).json["items"] == []
    for bad in ("perPage=0", "perPage=1001", "page=-1", "page=x", "from=x"):
        assert api.call("POST", f"/activities/public?{bad}", {}, expect=400).code


def test_an_export_can_be_verified_elsewhere(instance, scratch):
    path = scratch / "activity.jsonl"
    instance.ctl("activity", "export", "--output", path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    previous = "0" * 64
    for number, row in enumerate(rows, 1):
        assert row["sequence"] == number
        fields = [row[name] for name in ("node", "sequence", "id", "at", "actor", "source", "operation", "resourceType", "resourceId", "resourceName",
                                         "result", "changes")]
        fields[3] = instant(fields[3])
        content = b"".join(b"%d:%b," % (len(text), text) for text in (str(f).encode() for f in fields))
        assert row["previousHash"] == previous
        assert hashlib.sha256(bytes.fromhex(previous) + content).hexdigest() == row["hash"], row
        previous = row["hash"]
    assert len(rows) > 5


# ---------------------------------------------------------------------------- tampering
def test_a_changed_row_is_found(log):
    tamper = Tamper(log)
    tamper("UPDATE activity SET actor = 'nobody' WHERE sequence_number = 3")
    assert any("row 3 " in f and "changed" in f for f in findings(log))


def test_a_removed_row_is_found(log):
    tamper = Tamper(log)
    tamper("DELETE FROM activity WHERE sequence_number = 4")
    assert any("4" in f and "missing" in f for f in findings(log))


def test_rows_removed_at_the_beginning_are_found(log):
    Tamper(log)("DELETE FROM activity WHERE sequence_number <= 2")
    assert any("rows 1 to 2 are missing" in f for f in findings(log))


def test_rows_cut_off_behind_and_before_the_checkpoint_are_found(log):
    tamper = Tamper(log)
    end, known = head(tamper), checkpoint(tamper)
    assert known < end
    tamper("DELETE FROM activity WHERE sequence_number > ?", end - 2)
    assert any(f"rows {end - 1} to {end} were cut off" in f for f in findings(log))
    tamper("DELETE FROM activity WHERE sequence_number >= ?", known)
    tamper("UPDATE activity_head SET sequence_number = ?, hash = (SELECT hash FROM activity WHERE sequence_number = ?)", known - 1, known - 1)
    assert any("cut off" in f and str(known) in f for f in findings(log))
    log.api.create("SEARCH_PAGES")  # goes on behind the cut
    assert any("checkpoint" in f for f in findings(log))


def test_a_whole_chain_that_went_is_found(log):
    tamper = Tamper(log)
    tamper("DELETE FROM activity")
    tamper("DELETE FROM activity_head")
    assert any("cut off" in f for f in findings(log))


def rewrite(tamper, first):
    """All hashes from `first` on made right again, as somebody who knows the rule would."""
    names = "node, sequence_number, id, happened, actor, source, operation, resource_type, resource_id, resource_name, outcome, changes"
    previous = tamper("SELECT hash FROM activity WHERE sequence_number = ?", first - 1)[0][0]
    for row in tamper(f"SELECT {names} FROM activity WHERE sequence_number >= ? ORDER BY sequence_number", first):
        content = b"".join(b"%d:%b," % (len(text), text) for text in (str(f).encode() for f in row))
        now = hashlib.sha256(previous + content).digest()
        tamper("UPDATE activity SET previous_hash = ?, hash = ? WHERE sequence_number = ?", previous, now, row[1])
        previous = now
    tamper("UPDATE activity_head SET hash = ?", previous)


def test_a_chain_that_was_rewritten_is_found_by_its_checkpoint(log):
    tamper = Tamper(log)
    tamper("UPDATE activity SET actor = 'nobody' WHERE sequence_number = 3")
    rewrite(tamper, 3)
    found = findings(log)
    assert len(found) == 1 and "differs from its checkpoint" in found[0], found
    number = checkpoint(tamper)
    tamper("UPDATE activity_checkpoint SET hash = (SELECT hash FROM activity WHERE sequence_number = ?)", number)
    assert any("forged" in f for f in findings(log))


def test_a_checkpoint_of_another_credential_vouches_for_nothing(log):
    key = log.dir / "credentials" / "activity.key"
    shutil.copy(key, key.with_suffix(".kept"))
    key.write_text("0" * 64 + "\n")
    assert any("forged or made with another credential" in f for f in findings(log))
    key.unlink()
    report = verify(log)
    assert report["good"] and not report["authenticated"] and "credentialProblem" in report
    shutil.move(key.with_suffix(".kept"), key)
    key.chmod(0o600)
    assert verify(log)["authenticated"]


# ---------------------------------------------------------------------------- retention
def test_old_rows_are_pruned_and_a_checkpoint_says_so(make_instance):
    instance = make_instance("--option", 'activity.keep="400d"')
    api = Api(instance)
    tamper = Tamper(instance)
    for i in range(20):
        api.create("SEARCH_PAGES", displayName=f"old {i}")
    old = head(tamper)
    api.advance(399 * DAY)
    assert tamper("SELECT MIN(sequence_number) FROM activity")[0][0] == 1, "kept at least as long as it was said"
    key = api.create("SEARCH_PAGES")
    api.advance(2 * DAY)
    first = tamper("SELECT MIN(sequence_number) FROM activity")[0][0]
    assert first > old and verify(instance)["good"], verify(instance)
    assert api.post("/activities/public", {"resourceIds": [key["id"]]}).json["items"]
    tamper("DELETE FROM activity WHERE sequence_number = ?", first)
    assert any("missing" in f for f in findings(instance))
