"""The backup in an object store that refuses wrong signatures: whole and in parts, both addressing styles, and all that goes wrong."""
import hashlib
import os
import pathlib
import subprocess

import pytest

from conftest import TESTS, wait_for
from s3_store import S3Store


@pytest.fixture
def store():
    made = S3Store()
    yield made
    made.close()


def up(make_instance, scratch, store, *, style="path", secret=None, bucket=None, **settings):
    credentials = scratch / "s3.credentials"
    credentials.write_text(f"[default]\naws_access_key_id = {store.access}\naws_secret_access_key = {secret or store.secret}\n")
    credentials.chmod(0o600)
    host = "127.0.0.1" if style == "path" else "localhost"
    options = {"backup.target": '"s3"', "backup.s3_endpoint": f'"http://{host}:{store.port}"', "backup.s3_bucket": f'"{bucket or store.bucket}"',
               "backup.s3_prefix": '"gate way/äö"', "backup.s3_region": f'"{store.region}"', "backup.s3_credentials_file": f'"{credentials}"',
               "backup.s3_path_style": "true" if style == "path" else "false", "partner.signature": '"optional"', **settings}
    return make_instance(*[x for name, value in options.items() for x in ("--option", f"{name}={value}")])


def upload(instance, scratch, name, content):
    path = scratch / name
    path.write_bytes(content)
    instance.sftp(f"put \"{path}\" /Incoming/Invoices/")
    return instance.wait_state(name, "archived", seconds=60)


def unreachable(instance):
    return next((c["sentence"] for c in instance.json("status")["health"] if c["name"] == "backup.unreachable"), "")


def check_fetched(instance, scratch, row, content):
    target = scratch / f"fetched-{row['id']}"
    instance.ctl("files", "get", row["id"], "-o", target)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("style", ["path", "virtual-host"])
def test_an_archived_file_moves_there_and_comes_back(make_instance, scratch, store, style):
    instance = up(make_instance, scratch, store, style=style)
    name = "Rechnung & +100% (1)=ü.csv"
    row = upload(instance, scratch, name, b"a,b\n")
    empty = upload(instance, scratch, "empty.csv", b"")
    instance.advance("15d")
    row = instance.wait_state(name, "backed_up")
    instance.wait_state("empty.csv", "backed_up")
    assert not store.refusals, store.refusals
    assert row["backupAt"].startswith("s3://backup/gate way/äö/acme/inbound/Invoices/")
    assert store.objects[row["backupAt"].removeprefix("s3://backup/")] == b"a,b\n"
    assert instance.sftp("ls /Archive/Incoming/Invoices").stdout.count("csv") == 0
    check_fetched(instance, scratch, row, b"a,b\n")
    check_fetched(instance, scratch, empty, b"")


@pytest.mark.parametrize("checksums", [True, False])
def test_a_large_file_goes_in_parts(make_instance, scratch, store, checksums):
    store.checksums = checksums
    instance = up(make_instance, scratch, store)
    content = os.urandom(1 << 20) * 70
    upload(instance, scratch, "large.bin", content)
    instance.command("advance", "15d")
    row = instance.wait_state("large.bin", "backed_up", seconds=60)
    key = row["backupAt"].removeprefix("s3://backup/")
    assert len(store.objects[key]) == len(content) and hashlib.sha256(store.objects[key]).digest() == hashlib.sha256(content).digest()
    assert not store.uploads and len([r for r in store.requests if "partNumber" in r[1]]) >= 4
    read_back = [r for r in store.requests if r[0] == "GET"]
    assert bool(read_back) != checksums, "what the store did not check is read back"
    check_fetched(instance, scratch, row, content)


def test_errors_now_and_then_are_tried_again(make_instance, scratch, store):
    instance = up(make_instance, scratch, store)
    upload(instance, scratch, "a.csv", b"x")
    store.fail = [500, 503]
    instance.advance("15d")
    instance.wait_state("a.csv", "backed_up")
    assert not unreachable(instance)


def test_errors_between_many_files_lose_and_double_none(make_instance, scratch, store):
    instance = up(make_instance, scratch, store)
    names = [f"f{n}.csv" for n in range(12)]
    for name in names:
        (scratch / name).write_text(name)
    instance.sftp(*[f"put {scratch / name} /Incoming/Invoices/" for name in names])
    for name in names:
        instance.wait_state(name, "archived")
    store.fail = [None, 500, None, None, 503, 500] * 20
    instance.advance("15d")

    def moved():
        instance.advance("2min")
        return all(instance.file_named(name)["state"] == "backed_up" for name in names)
    wait_for("all are in the store", moved, 60)
    assert sorted(content.decode() for content in store.objects.values()) == sorted(names)


def test_a_slow_store_holds_up_nothing_else(make_instance, scratch, store):
    instance = up(make_instance, scratch, store)
    upload(instance, scratch, "a.csv", b"x")
    store.slow.clear()
    with subprocess.Popen([TESTS / "instance", "advance", instance.dir, "15d"], stdout=subprocess.DEVNULL) as advance:
        wait_for("the store has been asked", lambda: store.requests)
        upload(instance, scratch, "b.csv", b"y")
        assert instance.file_named("a.csv")["state"] == "archived"
        store.slow.set()
        assert advance.wait(60) == 0
    instance.wait_state("a.csv", "backed_up")


def test_a_store_that_fails_delays_the_move_and_loses_nothing(make_instance, scratch, store):
    instance = up(make_instance, scratch, store)
    row = upload(instance, scratch, "a.csv", b"x")
    store.fail = [500] * 1000
    instance.advance("15d")
    wait_for("health says so", lambda: "500" in unreachable(instance))
    assert instance.file_named("a.csv")["state"] == "archived"
    assert "a.csv" in instance.sftp("ls /Archive/Incoming/Invoices").stdout
    check_fetched(instance, scratch, row, b"x")
    store.fail = []
    instance.advance("120s")
    instance.wait_state("a.csv", "backed_up")
    assert not unreachable(instance)


@pytest.mark.parametrize("wrong,says", [({"secret": "not the secret key of that account"}, "SignatureDoesNotMatch"),
                                        ({"bucket": "elsewhere"}, "NoSuchBucket")])
def test_wrong_settings_say_what_the_store_said(make_instance, scratch, store, wrong, says):
    instance = up(make_instance, scratch, store, **wrong)
    upload(instance, scratch, "a.csv", b"x")
    instance.advance("15d")
    wait_for("health says so", lambda: says in unreachable(instance))
    assert instance.file_named("a.csv")["state"] == "archived" and not store.objects
    secret = wrong.get("secret", store.secret)
    logs = "".join(p.read_text(errors="replace") for p in pathlib.Path(instance.dir, "log").glob("*.log"))
    assert secret not in logs and secret not in str(instance.json("status"))


def test_a_store_that_keeps_something_else_is_found_out(make_instance, scratch, store):
    store.corrupt, store.checksums = True, False
    instance = up(make_instance, scratch, store)
    upload(instance, scratch, "a.csv", b"content")
    instance.advance("15d")
    wait_for("health says so", lambda: "something else" in unreachable(instance))
    assert instance.file_named("a.csv")["state"] == "archived"
    store.corrupt = False
    instance.advance("120s")
    instance.wait_state("a.csv", "backed_up")


def test_the_gateway_works_while_the_store_is_away(make_instance, scratch, store):
    instance = up(make_instance, scratch, store)
    upload(instance, scratch, "a.csv", b"x")
    store.close()
    instance.advance("15d")
    wait_for("health says so", lambda: unreachable(instance))
    upload(instance, scratch, "b.csv", b"y")
    assert instance.file_named("a.csv")["state"] == "archived"
