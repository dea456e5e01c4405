"""The inbound pipeline with a real sftp client and messages that gpg made."""
import pathlib

import pytest

from conftest import wait_for


def make(scratch, name, text="a,b\n1,2\n"):
    path = scratch / name
    path.write_text(text)
    return path


def test_encrypted_and_signed_is_delivered_and_archived(instance, scratch):
    plain = make(scratch, "good.csv", "x" * 100000)
    sealed = instance.seal(plain, scratch / "good.csv.pgp")
    instance.sftp(f"put {sealed} /Incoming/Invoices/")
    row = instance.wait_state("good.csv.pgp", "archived")
    assert instance.inbound("Invoices", "good.csv").read_bytes() == plain.read_bytes()
    assert row["partner"] == "acme" and row["object"] == "Invoices" and row["size"] == sealed.stat().st_size
    listing = instance.sftp("ls /Archive/Incoming/Invoices", "ls /Incoming/Invoices").stdout
    assert listing.count("good.csv.pgp") == 1


@pytest.mark.parametrize("name,options,reason", [
    ("unsigned.csv.pgp", {"sign": False}, "signature_missing"),
    ("truncated.csv.pgp", {}, "truncated"),
    ("garbage.csv.pgp", {}, "not_pgp"),
])
def test_what_is_not_acceptable_is_parked_with_a_reason(instance, scratch, name, options, reason):
    plain = make(scratch, "p.csv", "secret,row\n" * 1000)
    sealed = instance.seal(plain, scratch / name, **options)
    if reason == "truncated":
        sealed.write_bytes(sealed.read_bytes()[:-40])
    if reason == "not_pgp":
        sealed.write_text("this is no message\n")
    content = sealed.read_bytes()
    instance.sftp(f"put {sealed} /Incoming/Users/")
    row = instance.wait_state(name, "failed")
    code = row.get("reasonCode") or row.get("reason_code")
    assert reason.split("_")[0] in code, code
    listing = instance.sftp("ls /Archive/Failed/Users").stdout
    assert name in listing and name + ".reason.txt" in listing
    instance.sftp(f"get /Archive/Failed/Users/{name} {scratch}/back", f"get /Archive/Failed/Users/{name}.reason.txt {scratch}/why")
    assert (scratch / "back").read_bytes() == content
    assert len((scratch / "why").read_text()) > 20
    assert not list(pathlib.Path(instance.env["INBOUND_DIR"]).rglob(name.removesuffix(".pgp")))


def test_a_message_for_another_key_names_the_keys(instance, scratch):
    plain = make(scratch, "other.csv")
    e = instance.env
    import subprocess
    sealed = scratch / "other.csv.pgp"
    subprocess.run(["gpg", "--homedir", e["PARTNER_PGP_HOME"], "--batch", "--quiet", "--trust-model", "always", "--output", sealed,
                    "--recipient", e["PARTNER_PGP_FINGERPRINT"], "--encrypt", plain], check=True)
    instance.sftp(f"put {sealed} /Incoming/Users/")
    instance.wait_state("other.csv.pgp", "failed")
    instance.sftp(f"get /Archive/Failed/Users/other.csv.pgp.reason.txt {scratch}/why2")
    key_ids = subprocess.run(["gpg", "--homedir", e["PARTNER_PGP_HOME"], "--with-colons", "--list-keys", e["PARTNER_PGP_FINGERPRINT"]],
                             text=True, capture_output=True, check=True).stdout
    subkey = next(line.split(":")[4] for line in key_ids.splitlines() if line.startswith("sub:"))
    assert subkey[-8:].lower() in (scratch / "why2").read_text().lower()


def test_empty_and_plain_files_go_through_where_a_signature_is_not_needed(instance, scratch):
    instance.ctl("partner", "set", "acme", "signature", "optional")
    instance.sftp(f"put {make(scratch, 'empty.txt', '')} /Incoming/Users/", f"put {make(scratch, 'plain.txt', 'hello')} /Incoming/Users/")
    instance.wait_state("empty.txt", "archived")
    instance.wait_state("plain.txt", "archived")
    assert instance.inbound("Users", "empty.txt").read_bytes() == b""
    assert instance.inbound("Users", "plain.txt").read_bytes() == b"hello"
    instance.ctl("partner", "set", "acme", "signature", "auto")


def test_a_taken_name_gets_its_journal_id(instance, scratch):
    first = instance.seal(make(scratch, "twice.csv", "one"), scratch / "twice.csv.pgp")
    instance.sftp(f"put {first} /Incoming/Invoices/")
    instance.wait_state("twice.csv.pgp", "archived")
    second = instance.seal(make(scratch, "twice.csv", "two"), scratch / "twice.csv.pgp")
    instance.sftp(f"put {second} /Incoming/Invoices/")
    names = wait_for("both are delivered", lambda: [p for p in instance.inbound("Invoices").glob("twice*.csv")]
                     if len(list(instance.inbound("Invoices").glob("twice*.csv"))) == 2 else None)
    assert sorted(p.read_text() for p in names) == ["one", "two"]
    assert instance.inbound("Invoices", "twice.csv").read_text() == "one"


def test_kill_of_the_daemon_loses_nothing_and_delivers_once(make_instance, scratch):
    instance = make_instance()
    for round_number in range(6):
        name = f"round{round_number}.csv"
        sealed = instance.seal(make(scratch, name, name * 5000), scratch / f"{name}.pgp")
        instance.sftp(f"put {sealed} /Incoming/Invoices/")
        instance.kill("daemon" if round_number % 2 else "all")
        instance.restart()
    for round_number in range(6):
        instance.wait_state(f"round{round_number}.csv.pgp", "archived")
    delivered = sorted(p.name for p in instance.inbound("Invoices").iterdir())
    assert delivered == [f"round{n}.csv" for n in range(6)]
    assert len(instance.items("files", "list")) == 6
