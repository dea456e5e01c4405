"""The inbound pipeline with a real sftp client and messages that gpg made."""
import pathlib
import subprocess
import time

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


def sftp_as(instance, user, key, *commands):
    e = instance.env
    argv = ["sftp", "-q", "-b", "-", "-P", e["SFTP_PORT"], "-i", key, "-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={e['SFTP_HOST_KEYS']}",
            f"{user}@{e['SFTP_HOST']}"]
    subprocess.run(argv, input="\n".join(commands) + "\n", text=True, capture_output=True, check=True)


def test_two_partners_may_have_the_same_pgp_key(make_instance, scratch):
    instance = make_instance()
    key = scratch / "beta"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    instance.ctl("partner", "create", "beta", "--email", "files@beta.example.com")
    instance.ctl("partner", "ssh-key", "add", "beta", f"{key}.pub")
    instance.ctl("partner", "pgp-key", "add", "beta", instance.dir / "partner" / "partner.asc")

    def remove_key(partner):
        instance.ctl("partner", "pgp-key", "remove", partner, instance.json("partner", "show", partner)["pgpKeys"][0]["id"])

    def put_as_beta(name):
        sealed = instance.seal(make(scratch, name, f"{name}\n"), scratch / f"{name}.pgp")
        sftp_as(instance, "beta", key, f"put {sealed} /Incoming/Invoices/")
        row = instance.wait_state(sealed.name, "archived", "failed")
        assert row["partner"] == "beta"
        return row

    assert put_as_beta("one.csv")["state"] == "archived"
    delivered = pathlib.Path(instance.env["INBOUND_DIR"]) / "beta" / "Invoices" / "one.csv"
    assert delivered.read_text() == "one.csv\n"
    # What one of them gives up is still the other's.
    remove_key("acme")
    assert put_as_beta("two.csv")["state"] == "archived"
    remove_key("beta")
    row = put_as_beta("three.csv")
    assert row["state"] == "failed" and row["reasonCode"] == "signature-unknown-key", row


def test_a_signature_without_its_file_holds_up_nobody(make_instance, scratch):
    instance = make_instance("--option", "partner.detached_signatures=true")
    home, fingerprint = instance.env["PARTNER_PGP_HOME"], instance.env["PARTNER_PGP_FINGERPRINT"]
    data = make(scratch, "absent.csv", "never sent\n")
    subprocess.run(["gpg", "--homedir", home, "--batch", "--quiet", "--local-user", fingerprint, "--detach-sign", "--output", f"{data}.sig", data], check=True)
    instance.sftp(f"put {data}.sig /Incoming/Invoices/")
    wait_for("it waits", lambda: instance.file_named("absent.csv.sig")["reasonCode"] == "waits-for-file")
    sealed = instance.seal(make(scratch, "next.csv", "next\n"), scratch / "next.csv.pgp")
    instance.sftp(f"put {sealed} /Incoming/Invoices/")
    instance.wait_state(sealed.name, "archived")
    instance.kill("daemon")
    instance.restart()
    again = instance.seal(make(scratch, "again.csv", "again\n"), scratch / "again.csv.pgp")
    instance.sftp(f"put {again} /Incoming/Invoices/")
    instance.wait_state(again.name, "archived")
    assert instance.file_named("absent.csv.sig")["state"] == "received"
    instance.sftp(f"put {data} /Incoming/Invoices/")
    instance.wait_state("absent.csv", "archived")
    instance.wait_state("absent.csv.sig", "archived")


def test_a_clock_that_jumped_while_files_were_waiting(make_instance, scratch):
    """A file waits for its signature, another for a directory that cannot be made: both go through, once, whatever time it is.
    (A clock that goes back cannot be had here: unit_daemon moves it under what waits.)"""
    instance = make_instance("--option", "partner.detached_signatures=true")
    home, fingerprint = instance.env["PARTNER_PGP_HOME"], instance.env["PARTNER_PGP_FINGERPRINT"]
    data = make(scratch, "pair.csv", "signed apart\n")
    subprocess.run(["gpg", "--homedir", home, "--batch", "--quiet", "--local-user", fingerprint, "--detach-sign", "--output", f"{data}.sig", data], check=True)
    instance.sftp(f"put {data} /Incoming/Invoices/")
    wait_for("it waits", lambda: instance.file_named("pair.csv")["reasonCode"] == "waits-for-signature")
    instance.advance("9min")
    instance.sftp(f"put {data}.sig /Incoming/Invoices/")
    instance.wait_state("pair.csv", "archived")

    sealed = instance.seal(make(scratch, "later.csv", "later\n"), scratch / "later.csv.pgp")
    inbound = instance.inbound("Users").parent
    inbound.mkdir(parents=True, exist_ok=True)
    (inbound / "Users").write_text("in the way of the directory")
    instance.sftp(f"put {sealed} /Incoming/Users/")
    wait_for("it waits", lambda: instance.file_named(sealed.name)["reasonCode"] == "not-now")
    instance.advance("30d")
    assert instance.file_named(sealed.name)["state"] == "received"
    (inbound / "Users").unlink()
    instance.advance("2min")
    instance.wait_state(sealed.name, "archived")
    assert instance.inbound("Users", "later.csv").read_text() == "later\n"
    instance.sftp(f"put {sealed} /Incoming/Suppliers/")
    wait_for("new files go through as ever", lambda: [f for f in instance.items("files", "list", "--name", sealed.name)
                                                      if f["object"] == "Suppliers" and f["state"] == "archived"])


@pytest.mark.long
def test_a_bomb_stops_at_the_limit_and_leaves_nothing(instance, scratch):
    """Four gibibytes in a message of less than eight kibibytes."""
    e = instance.env
    bomb = scratch / "bomb.csv.pgp"
    gpg = ["gpg", "--homedir", e["PARTNER_PGP_HOME"], "--batch", "--quiet", "--trust-model", "always", "--compress-algo", "bzip2", "-z", "9",
           "--local-user", e["PARTNER_PGP_FINGERPRINT"], "--recipient", e["GATEWAY_PGP_FINGERPRINT"], "--sign", "--encrypt", "--output", str(bomb)]
    with subprocess.Popen(["head", "-c", "4G", "/dev/zero"], stdout=subprocess.PIPE) as zeros:
        subprocess.run(gpg, stdin=zeros.stdout, check=True)
    assert bomb.stat().st_size < 8192
    instance.sftp(f"put {bomb} /Incoming/Invoices/")
    started = time.monotonic()
    row = instance.wait_state(bomb.name, "failed", seconds=30)
    assert time.monotonic() - started < 2
    assert row["reasonCode"] == "output-over-limit"
    assert not list((instance.inbound("..").resolve() / ".staging").iterdir())
    assert not instance.inbound("Invoices", "bomb.csv").exists()
    home = str(pathlib.Path(e["SALLYPORT_ADMIN_SOCKET"]).parent)

    def at_work():
        lines = [path.read_bytes().replace(b"\0", b" ").decode(errors="replace") for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        return [line for line in lines if home in line and "--decrypt" in line]
    assert not at_work()
