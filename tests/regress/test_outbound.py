"""Files for partners, with a real daemon, gpg and the stock sftp client: noticed, sealed, offered, collected, announced."""
import os
import pathlib
import subprocess
import time

from conftest import wait_for


def make(scratch, name, text="a,b\n1,2\n"):
    path = scratch / name
    path.write_text(text)
    return path


def drop(instance, obj, name, text):
    """As an application does: written under a hidden name, then renamed."""
    folder = pathlib.Path(instance.env["OUTBOUND_DIR"]) / "acme" / obj
    wait_for("the folder for the application is there", folder.is_dir)
    hidden = folder / f".{name}.new"
    hidden.write_text(text)
    hidden.rename(folder / name)
    return folder / name


def unseal(instance, sealed):
    """gpg as the partner: what is in the message, and what gpg says about its signature."""
    e = instance.env
    return subprocess.run(["gpg", "--homedir", e["PARTNER_PGP_HOME"], "--batch", "--status-fd", "2", "--pinentry-mode", "loopback",
                           "--passphrase", "", "--decrypt", str(sealed)], capture_output=True, check=True)


def fetch(instance, remote, local):
    instance.sftp(f"get {remote} {local}")
    return pathlib.Path(local)


def mails_about(instance, kind_words, name):
    return [m for m in instance.mails() if name in m.as_string() and kind_words in m["Subject"].lower()]


def test_a_file_moved_in_is_sealed_offered_downloaded_and_collected(instance, scratch):
    source = drop(instance, "Invoices", "order.csv", "secret\n" * 20000)
    row = instance.wait_state("order.csv", "available")
    assert not source.exists()
    assert row["publishedAs"] == "/Outgoing/Invoices/order.csv.pgp"
    got = fetch(instance, "/Outgoing/Invoices/order.csv.pgp", scratch / "order.pgp")
    assert b"secret" not in got.read_bytes()
    opened = unseal(instance, got)
    assert opened.stdout == b"secret\n" * 20000
    assert b"GOODSIG" in opened.stderr and instance.env["GATEWAY_PGP_FINGERPRINT"].encode() in opened.stderr
    instance.wait_state("order.csv", "downloaded")
    instance.sftp("rm /Outgoing/Invoices/order.csv.pgp")
    instance.wait_state("order.csv", "collected")
    history = [step["state"] for step in instance.json("files", "show", row["id"])["history"]]
    assert [s for i, s in enumerate(history) if s not in history[:i]] == ["queued", "encrypted", "available", "downloaded", "collected"]
    used = {key["fingerprint"]: key["lastUsed"] for key in instance.json("partner", "show", "acme")["pgpKeys"] + instance.items("pgp", "list")}
    assert used[instance.env["GATEWAY_PGP_FINGERPRINT"]] and all(used.values()), "his key, and ours that signed"


def test_send_gives_a_file_to_the_partner(instance, scratch):
    plain = make(scratch, "given.csv", "x,y\n")
    instance.ctl("send", "acme", plain, "--object", "Contracts", "--name", "named.csv")
    instance.wait_state("named.csv", "available")
    assert plain.exists()
    assert unseal(instance, fetch(instance, "/Outgoing/Contracts/named.csv.pgp", scratch / "n.pgp")).stdout == b"x,y\n"
    assert "no object" in instance.ctl_fails("send", "acme", plain, "--object", "Nothing").lower()
    assert "no partner" in instance.ctl_fails("send", "nobody", plain).lower()


def test_a_file_is_not_taken_while_an_application_writes_to_it(instance):
    folder = pathlib.Path(instance.env["OUTBOUND_DIR"]) / "acme" / "Payments"
    wait_for("the folder is there", folder.is_dir)
    with open(folder / "growing.csv", "w", encoding="ascii") as stream:
        stream.write("first\n")
        stream.flush()
        # Another file goes all the way meanwhile: the watch has seen both.
        drop(instance, "Payments", "other.csv", "o")
        instance.wait_state("other.csv", "available")
        assert instance.file_named("growing.csv") is None
        stream.write("second\n")
    row = instance.wait_state("growing.csv", "available")
    assert row["verdict"]["bytes"] == len("first\nsecond\n")


def test_what_the_partner_cannot_do_in_outgoing(instance, scratch):
    drop(instance, "Users", "kept.csv", "k")
    instance.wait_state("kept.csv", "available")
    local = make(scratch, "evil.csv")
    assert instance.sftp(f"put {local} /Outgoing/Users/evil.csv", check=False).returncode != 0
    assert instance.sftp("rename /Outgoing/Users/kept.csv.pgp /Outgoing/Users/x", check=False).returncode != 0
    assert "kept.csv.pgp" in instance.sftp("ls /Outgoing/Users").stdout


def test_odd_things_in_outbound_are_reported_not_followed(instance, scratch):
    secret = make(scratch, "secret.txt", "not for partners")
    folder = pathlib.Path(instance.env["OUTBOUND_DIR"]) / "acme" / "Users"
    (folder / "link.csv").symlink_to(secret)
    os.mkfifo(folder / "pipe.csv")
    named = lambda: [c for c in instance.json("status")["health"] if c["name"] == "outbound.unreadable"]
    wait_for("health tells", lambda: named() and "link.csv" in named()[0]["sentence"] or named() and "pipe.csv" in named()[0]["sentence"])
    drop(instance, "Users", "after.csv", "fine")
    instance.wait_state("after.csv", "available")
    assert instance.file_named("link.csv") is None and instance.file_named("pipe.csv") is None
    (folder / "link.csv").unlink()
    (folder / "pipe.csv").unlink()
    wait_for("health is good again", lambda: not named(), 40)


def test_without_a_key_of_the_partner_the_file_is_held_until_one_comes(make_instance, scratch):
    instance = make_instance()
    shown = instance.json("partner", "show", "acme")
    key = shown["pgpKeys"][0]["id"]
    instance.ctl("partner", "pgp-key", "remove", "acme", key)
    drop(instance, "Invoices", "held.csv", "waits")
    row = instance.wait_state("held.csv", "held")
    assert "key" in row["reason"].lower()
    wait_for("the mail about it", lambda: [m for m in instance.mails() if "held.csv" in m.as_string()])
    assert "held.csv" not in instance.sftp("ls /Outgoing/Invoices").stdout
    started = time.monotonic()
    instance.ctl("partner", "pgp-key", "add", "acme", instance.dir / "partner" / "partner.asc")
    instance.wait_state("held.csv", "available")
    assert time.monotonic() - started < 10, "sent as soon as the key is there, not by a later look"
    assert unseal(instance, fetch(instance, "/Outgoing/Invoices/held.csv.pgp", scratch / "h.pgp")).stdout == b"waits"


def test_a_key_whose_day_here_has_passed_is_not_encrypted_to(make_instance, scratch):
    instance = make_instance()
    [key] = instance.json("partner", "show", "acme")["pgpKeys"]
    public = scratch / "public.asc"
    public.write_bytes(subprocess.run(["gpg", "--homedir", instance.env["PARTNER_PGP_HOME"], "--batch", "--armor", "--export", key["fingerprint"]],
                                      capture_output=True, check=True).stdout)
    assert "past" in instance.ctl_fails("partner", "pgp-key", "add", "acme", public, "--expires", "2020-01-01")
    last_day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 3 * 86400))
    instance.ctl("partner", "pgp-key", "add", "acme", public, "--expires", last_day)
    [again] = instance.json("partner", "show", "acme")["pgpKeys"]
    assert again["id"] == key["id"] and again["expires"]
    drop(instance, "Invoices", "before.csv", "a\n")
    instance.wait_state("before.csv", "available")
    instance.advance("5d")
    drop(instance, "Invoices", "after.csv", "a\n")
    assert instance.wait_state("after.csv", "held")["reasonCode"] == "recipient-expired"
    plain = make(scratch, "signed.csv")
    instance.sftp(f"put {instance.seal(plain, scratch / 'signed.csv.pgp')} /Incoming/Invoices/signed.csv.pgp")
    assert instance.wait_state("signed.csv.pgp", "failed")["reasonCode"] == "signature-key-expired"
    instance.ctl("partner", "pgp-key", "add", "acme", public)
    assert instance.json("partner", "show", "acme")["pgpKeys"][0]["expires"] == again["expires"], "given again, it is good no longer"
    assert [mail for mail in instance.mails() if "expire" in mail["Subject"].lower() and key["fingerprint"][-16:] in mail.as_string().replace(" ", "")]


def test_what_is_not_collected_is_announced_twice_and_taken_back_after_two_weeks(make_instance, scratch):
    instance = make_instance()
    drop(instance, "Invoices", "forgotten.csv", "nobody came")
    row = instance.wait_state("forgotten.csv", "available")

    def about():
        return [m for m in instance.mails() if "forgotten.csv" in m.as_string()]

    instance.advance("2d")
    assert not about()
    instance.advance("26h")
    first = wait_for("the first reminder", about)
    assert len(first) == 1 and "files@acme.example.com" in first[0]["To"]
    instance.advance("4d")
    wait_for("the second reminder", lambda: len(about()) == 2)
    instance.advance("7d")
    instance.wait_state("forgotten.csv", "backed_up")
    wait_for("the administrators are told", lambda: any("admin@example.org" in m["To"] for m in about()))
    assert len(about()) == 3
    assert "forgotten" not in instance.sftp("ls /Outgoing/Invoices").stdout
    back = scratch / "back.pgp"
    instance.ctl("files", "get", row["id"], "-o", back)
    assert unseal(instance, back).stdout == b"nobody came"


def test_what_was_downloaded_and_not_deleted_is_announced_as_such(make_instance, scratch):
    instance = make_instance()
    drop(instance, "Invoices", "kept.csv", "taken, not deleted")
    instance.wait_state("kept.csv", "available")
    fetch(instance, "/Outgoing/Invoices/kept.csv.pgp", scratch / "kept.pgp")
    instance.wait_state("kept.csv", "downloaded")

    def about():
        return [m for m in instance.mails() if "kept.csv" in m.as_string()]

    instance.advance("73h")
    (reminder,) = wait_for("the reminder", about)
    assert "files@acme.example.com" in reminder["To"]
    assert "You downloaded the file" in reminder.get_body(("plain",)).get_content()
    instance.advance("12d")
    instance.wait_state("kept.csv", "backed_up")
    (returned,) = wait_for("the administrators are told", lambda: [m for m in about() if "admin@example.org" in m["To"]])
    assert "downloaded but not deleted" in returned["Subject"]


def test_a_file_that_was_deleted_after_its_download_is_not_announced(make_instance, scratch):
    instance = make_instance()
    drop(instance, "Invoices", "gone.csv", "taken and deleted")
    instance.wait_state("gone.csv", "available")
    fetch(instance, "/Outgoing/Invoices/gone.csv.pgp", scratch / "gone.pgp")
    instance.sftp("rm /Outgoing/Invoices/gone.csv.pgp")
    instance.wait_state("gone.csv", "collected")
    drop(instance, "Invoices", "kept.csv", "the other")
    instance.wait_state("kept.csv", "available")
    instance.advance("15d")
    instance.wait_state("kept.csv", "backed_up")
    wait_for("the other's mail", lambda: any("kept.csv" in m.as_string() for m in instance.mails()))
    assert not [m for m in instance.mails() if "gone.csv" in m.as_string()]


def test_what_would_never_be_sent_is_refused_or_reported(make_instance, scratch):
    instance = make_instance()
    plain = make(scratch, "given.csv")
    for name in (".hidden.csv", "report.tmp"):
        assert "not ready" in instance.ctl_fails("send", "acme", plain, "--name", name)
    for name in ("a/b", "..", "x" * 256):
        assert "no name for a file" in instance.ctl_fails("send", "acme", plain, "--name", name)
    longest = "y" * 251
    instance.ctl("send", "acme", plain, "--name", longest)
    instance.wait_state(longest, "available")
    outbound = pathlib.Path(instance.env["OUTBOUND_DIR"])
    for lost in ("acm/Invoices/a.csv", "top.csv", "acme/Invoices/2026/a.csv"):
        (outbound / lost).parent.mkdir(parents=True, exist_ok=True)
        (outbound / lost).write_text("nobody looks here")
    instance.kill("daemon")
    instance.restart()
    lost = lambda: next((c["sentence"] for c in instance.json("status")["health"] if c["name"] == "outbound.unreadable"), "")
    wait_for("health names them", lambda: all(name in lost() for name in ("acm: there is no partner", "top.csv: ", "acme/Invoices/2026: ")))
    assert (outbound / "top.csv").exists()


def test_a_held_file_says_since_when_it_waits(make_instance, scratch):
    instance = make_instance()
    instance.ctl("partner", "create", "beta", "--email", "files@beta.example.org")
    instance.ctl("send", "beta", make(scratch, "held.csv"))
    mails = wait_for("it is announced", lambda: mails_about(instance, "held", "held.csv"))
    assert all("1970" not in m.as_string() for m in mails)
