"""What becomes of files after their delivery: webhook, receipt, expectations, the backup and all ways to the original."""
import contextlib
import csv
import http.server
import io
import base64
import hashlib
import hmac
import json
import os
import pathlib
import sqlite3
import subprocess
import threading

import pytest

from conftest import wait_for


def make(scratch, name, text="a,b\n1,2\n"):
    path = scratch / name
    path.write_text(text)
    return path


def upload(instance, scratch, name, text="a,b\n", obj="Invoices"):
    sealed = instance.seal(make(scratch, name, text), scratch / f"{name}.pgp")
    instance.sftp(f"put {sealed} /Incoming/{obj}/")
    return instance.wait_state(sealed.name, "archived"), sealed.read_bytes()


def health(instance, name):
    return next((c["sentence"] for c in instance.json("status")["health"] if c["name"] == name), "")


def get_content(instance, file_id, token=None):
    """GET .../content over TCP, as a program of the customer would."""
    e = instance.env
    return subprocess.run(["curl", "-s", "-D", "-", "-H", f"Authorization: Bearer {token or e['SALLYPORT_ADMIN_TOKEN']}",
                           f"{e['SALLYPORT_HTTP_URL']}/rest/organizations/{e['SALLYPORT_ORG']}/files/{file_id}/content"],
                          capture_output=True, check=True).stdout.split(b"\r\n\r\n", 1)


def backup_files(instance):
    return [p for p in pathlib.Path(instance.env["BACKUP_DIR"]).rglob("*") if p.is_file()]


def test_after_two_weeks_the_original_is_in_the_backup_and_downloads_stay_the_same(instance, scratch):
    row, content = upload(instance, scratch, "moves.csv")
    head, body = get_content(instance, row["id"])
    assert b" 200 " in head.splitlines()[0] and body == content and b"attachment" in head
    instance.advance("13d")
    assert instance.file_named("moves.csv.pgp")["state"] == "archived"
    instance.advance("2d")
    row = instance.wait_state("moves.csv.pgp", "backed_up")
    assert row["backupAt"].startswith("dir:acme/inbound/Invoices/")
    assert [p.read_bytes() for p in backup_files(instance) if row["id"] in p.name] == [content]
    assert "moves" not in instance.sftp("ls /Archive/Incoming/Invoices").stdout
    head, body = get_content(instance, row["id"])
    assert b" 200 " in head.splitlines()[0] and body == content
    assert "401" in get_content(instance, row["id"], "no-such-token")[0].decode().splitlines()[0]
    downloads = [a for a in instance.items("activity", "list") if a.get("operation") == "DOWNLOAD"]
    assert downloads and downloads[0]["resourceId"] == row["id"]
    states = [s["state"] for s in instance.json("files", "show", row["id"])["history"]]
    assert states[-1] == "backed_up" and {"received", "decrypted", "delivered", "archived"} <= set(states)


def test_a_backup_that_cannot_be_used_delays_the_move_and_loses_nothing(instance, scratch):
    backup = pathlib.Path(instance.env["BACKUP_DIR"])
    row, content = upload(instance, scratch, "delayed.csv")
    aside = backup.rename(backup.with_name("aside"))
    backup.write_text("not a directory")
    instance.advance("15d")
    wait_for("health says so", lambda: health(instance, "backup.unreachable"))
    assert instance.file_named("delayed.csv.pgp")["state"] == "archived"
    assert "delayed" in instance.sftp("ls /Archive/Incoming/Invoices").stdout
    assert get_content(instance, row["id"])[1] == content
    backup.unlink()
    aside.rename(backup)
    instance.advance("120s")
    instance.wait_state("delayed.csv.pgp", "backed_up")
    assert not health(instance, "backup.unreachable")


@pytest.mark.skipif(os.geteuid() != 0, reason="a full file system needs a mount")
def test_a_full_backup_delays_the_move(make_instance, scratch):
    instance = make_instance()
    backup = instance.env["BACKUP_DIR"]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", backup], check=True)
    try:
        text = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(4000))
        row, content = upload(instance, scratch, "big.csv", text)
        instance.advance("15d")
        wait_for("health says so", lambda: "space" in health(instance, "backup.unreachable"))
        assert get_content(instance, row["id"])[1] == content
        subprocess.run(["mount", "-o", "remount,size=8m", backup], check=True)
        instance.advance("120s")
        instance.wait_state("big.csv.pgp", "backed_up")
        assert get_content(instance, row["id"])[1] == content
    finally:
        subprocess.run(["umount", "-l", backup], check=True)


def test_a_file_changed_or_removed_by_hand_is_reported_and_holds_up_no_other(make_instance, scratch):
    instance = make_instance()
    tree = instance.dir / "partners" / "acme" / "tree" / "Archive" / "Incoming" / "Invoices"
    changed, _ = upload(instance, scratch, "changed.csv")
    removed, _ = upload(instance, scratch, "removed.csv")
    kept, content = upload(instance, scratch, "kept.csv")
    (tree / "changed.csv.pgp").write_text("something else")
    (tree / "removed.csv.pgp").unlink()
    (tree / "planted.csv").write_text("from nowhere")
    found = instance.command("ctl", "--json", "files", "check", check=False)
    assert found.returncode != 0
    kinds = {(f["kind"], f["path"].rsplit("/", 1)[1]) for f in json.loads(found.stdout)["findings"]}
    assert kinds == {("wrong_size", "changed.csv.pgp"), ("missing", "removed.csv.pgp"), ("orphan", "planted.csv")}
    instance.advance("15d")
    instance.wait_state("kept.csv.pgp", "backed_up")
    assert "changed.csv" in health(instance, "files.changed") and "removed.csv" in health(instance, "files.missing")
    assert (tree / "changed.csv.pgp").read_text() == "something else", "nothing is deleted that cannot be explained"


def check_kinds(instance):
    found = instance.command("ctl", "--json", "files", "check", check=False)
    return {f["kind"] for f in json.loads(found.stdout)["findings"]}


def test_what_lies_in_the_backup_is_not_missing(make_instance, scratch):
    instance = make_instance()
    instance.sftp(f"put {make(scratch, 'unsigned.csv')} /Incoming/Invoices/")
    instance.wait_state("unsigned.csv", "failed")
    instance.advance("15d")
    row = wait_for("it has moved", lambda: (instance.file_named("unsigned.csv")["backupAt"] or None) and instance.file_named("unsigned.csv"))
    assert row["state"] == "failed" and "unsigned" not in instance.sftp("ls /Archive/Failed/Invoices").stdout
    assert not check_kinds(instance)
    # A backup that cannot be read says what is the matter.
    backup = pathlib.Path(instance.env["BACKUP_DIR"])
    aside = backup.rename(backup.with_name("aside"))
    backup.mkdir()
    for refused in (instance.ctl_fails("files", "get", row["id"], "-o", scratch / "x"), instance.ctl_fails("files", "retry", row["id"])):
        assert "backup" in refused and "internal" not in refused, refused
    backup.rmdir()
    aside.rename(backup)
    instance.ctl("files", "get", row["id"], "-o", scratch / "x")


def test_a_file_that_is_put_back_moves_to_the_backup(make_instance, scratch):
    instance = make_instance()
    place = instance.dir / "partners" / "acme" / "tree" / "Archive" / "Incoming" / "Invoices" / "away.csv.pgp"
    _, content = upload(instance, scratch, "away.csv")
    place.unlink()
    instance.advance("15d")
    wait_for("health says so", lambda: health(instance, "files.missing"))
    instance.kill("daemon")
    instance.restart()
    instance.advance("1d")
    wait_for("and says it after a restart, too", lambda: health(instance, "files.missing"))
    place.write_bytes(content)
    instance.advance("1d")
    instance.wait_state("away.csv.pgp", "backed_up")


def test_a_changed_original_is_not_handed_out_as_the_original(make_instance, scratch):
    instance = make_instance()
    place = instance.dir / "partners" / "acme" / "tree" / "Archive" / "Incoming" / "Invoices"
    longer, _ = upload(instance, scratch, "longer.csv")
    flipped, content = upload(instance, scratch, "flipped.csv")
    (place / "longer.csv.pgp").write_bytes(b"x" + (place / "longer.csv.pgp").read_bytes())
    (place / "flipped.csv.pgp").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "not the original" in instance.ctl_fails("files", "get", longer["id"], "-o", scratch / "longer")
    assert b" 409 " in get_content(instance, longer["id"])[0].splitlines()[0]
    assert "NOT the original" in instance.ctl_fails("files", "get", flipped["id"], "-o", scratch / "flipped")


def test_failed_files_are_retried_from_the_archive_and_from_the_backup(instance, scratch):
    stranger = scratch / "stranger"
    stranger.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(stranger), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run(gpg + ["--quick-gen-key", "second <second@acme.example.com>", "ed25519", "sign", "never"], check=True)
    subprocess.run(gpg + ["--import", instance.env["GATEWAY_PGP_KEY"]], check=True)
    for name in ("soon.csv", "late.csv"):
        subprocess.run(gpg + ["--trust-model", "always", "--output", str(scratch / f"{name}.pgp"), "--recipient",
                              instance.env["GATEWAY_PGP_FINGERPRINT"], "--sign", "--encrypt", str(make(scratch, name, name))], check=True)
        instance.sftp(f"put {scratch}/{name}.pgp /Incoming/Payments/")
    soon, late = (instance.wait_state(f"{n}.csv.pgp", "failed") for n in ("soon", "late"))
    assert "key" in soon["reasonCode"] or "signature" in soon["reasonCode"]
    public = scratch / "second.asc"
    public.write_bytes(subprocess.run(gpg + ["--armor", "--export", "second@acme.example.com"], capture_output=True, check=True).stdout)
    instance.ctl("partner", "pgp-key", "add", "acme", public)
    instance.ctl("files", "retry", soon["id"])
    instance.wait_state("soon.csv.pgp", "archived")
    assert instance.inbound("Payments", "soon.csv").read_text() == "soon.csv"
    instance.advance("15d")
    wait_for("it is in the backup", lambda: instance.json("files", "show", late["id"])["backupAt"])
    assert "late" not in instance.sftp("ls /Archive/Failed/Payments").stdout
    instance.ctl("files", "retry", late["id"])
    instance.wait_state("late.csv.pgp", "archived")
    assert instance.inbound("Payments", "late.csv").read_text() == "late.csv"
    assert "only failed files" in instance.ctl_fails("files", "retry", late["id"]).lower()
    subprocess.run(["gpgconf", "--homedir", str(stranger), "--kill", "all"], check=False)


def test_lists_exports_and_follow(instance, scratch):
    upload(instance, scratch, "=formula.csv")
    rows = list(csv.DictReader(io.StringIO(instance.ctl("files", "export", "--name", "=formula.csv.pgp"))))
    assert len(rows) == 1 and rows[0]["name"].lstrip("'") == "=formula.csv.pgp" and rows[0]["state"] == "archived"
    assert rows[0]["name"].startswith("'"), "a spreadsheet must not take it for a formula"
    lines = instance.ctl("files", "export", "--format", "json").splitlines()
    assert {json.loads(line)["name"] for line in lines} >= {"=formula.csv.pgp"}
    assert len(lines) == len({json.loads(line)["id"] for line in lines})
    follow = subprocess.Popen([instance.env["SALLYPORTCTL"], "--socket", instance.env["SALLYPORT_ADMIN_SOCKET"], "files", "follow"],
                              stdout=subprocess.PIPE, text=True)
    try:
        seen = []
        reader = threading.Thread(target=lambda: seen.extend(iter(follow.stdout.readline, "")), daemon=True)
        reader.start()
        number = iter(range(100))

        def told():  # it tells changes from its first look on: give it some until it has told one
            upload(instance, scratch, f"followed{next(number)}.csv")
            return [line for line in seen if "followed" in line]

        wait_for("follow tells of a file", told, 60)
    finally:
        follow.kill()
        follow.wait()


class Listener:
    """A webhook receiver that refuses the first `refuse` calls."""

    def __init__(self, refuse):
        self.calls, self.refuse = [], refuse
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.calls.append((dict(self.headers), body))
                self.send_response(503 if len(listener.calls) <= listener.refuse else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"


def test_webhook_receipt_and_sealed_backup(make_instance, scratch):
    listener = Listener(refuse=1)
    secret = scratch / "webhook.secret"
    key = os.urandom(32)
    secret.write_text("whsec_" + base64.b64encode(key).decode() + "\n")
    secret.chmod(0o600)
    instance = make_instance("--option", f'files.webhook_url="{listener.url}"', "--option", f'files.webhook_secret_file="{secret}"',
                             "--option", "partner.receipts=true")
    row, _ = upload(instance, scratch, "told.csv", "t")
    wait_for("the first call, refused", lambda: listener.calls)
    wait_for("health says so", lambda: "503" in health(instance, "files.webhook"))
    other, _ = upload(instance, scratch, "meanwhile.csv", "m")
    assert other["state"] == "archived", "a webhook holds nothing up"
    instance.advance("60s")
    wait_for("it is called again", lambda: len([c for c in listener.calls if json.loads(c[1])["subject"] == row["id"]]) >= 2)
    calls = [c for c in listener.calls if json.loads(c[1])["subject"] == row["id"]]
    headers, body = calls[-1]
    headers = {k.lower(): v for k, v in headers.items()}
    event = json.loads(body)
    assert event["type"].endswith("file.delivered") and event["data"]["sha256"] == row["sha256"]
    assert pathlib.Path(event["data"]["path"]) == instance.inbound("Invoices", "told.csv")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() in headers["webhook-signature"]
    assert len({json.loads(c[1])["id"] for c in calls}) == 1, "the second attempt can be told as such"
    wait_for("the receipt", lambda: "told" in instance.sftp("ls /Outgoing/Receipts").stdout)
    receipt = scratch / "receipt"
    instance.sftp(f"get /Outgoing/Receipts/told.csv.pgp.{row['id']}.json.asc {receipt}")
    checked = subprocess.run(["gpg", "--homedir", instance.env["PARTNER_PGP_HOME"], "--batch", "--status-fd", "2", "--decrypt", receipt],
                             capture_output=True, check=True)
    assert b"GOODSIG" in checked.stderr
    said = json.loads(checked.stdout)
    assert said["sha256"] == row["sha256"] and said["outcome"] == "delivered"


def test_what_was_given_up_for_a_failed_file_ends_with_its_new_run(make_instance, scratch):
    instance = make_instance("--option", "partner.receipts=true")
    instance.sftp(f"put {make(scratch, 'plain.csv')} /Incoming/Invoices/")
    row = instance.wait_state("plain.csv", "failed")
    wait_for("its receipt is made", lambda: not instance.json("files", "show", row["id"])["pending"])
    instance.stop("daemon")
    with contextlib.closing(sqlite3.connect(instance.dir / "sallyport.db")) as database, database:
        database.execute("INSERT INTO given_up_task (file_id, kind, happened) VALUES (?, 'receipt', 1)", [row["id"]])
    instance.restart()
    wait_for("health names it", lambda: row["id"] in health(instance, "files.given_up"))
    instance.ctl("files", "retry", row["id"])
    wait_for("health has forgotten it", lambda: not health(instance, "files.given_up"))
    instance.wait_state("plain.csv", "failed")
    wait_for("its receipt is made", lambda: not instance.json("files", "show", row["id"])["pending"])
    assert instance.sftp("ls /Outgoing/Receipts").stdout.count("plain.csv") == 1


def test_plain_files_are_encrypted_for_the_backup_where_that_is_set(make_instance, scratch):
    instance = make_instance("--option", 'partner.signature="optional"')
    config = instance.dir / "sallyport.toml"
    fingerprint = instance.env["GATEWAY_PGP_FINGERPRINT"]
    config.write_text(config.read_text().replace("[backup]\n", f'[backup]\nencrypt_to = "{fingerprint}"\n'))
    instance.stop("daemon")
    instance.restart()
    instance.sftp(f"put {make(scratch, 'plain.csv', 'in the clear')} /Incoming/Invoices/")
    instance.wait_state("plain.csv", "archived")
    sealed, content = upload(instance, scratch, "sealed.csv")
    instance.advance("15d")
    plain = instance.wait_state("plain.csv", "backed_up")
    instance.wait_state("sealed.csv.pgp", "backed_up")
    stored = {p.name: p.read_bytes() for p in backup_files(instance)}
    assert len(stored) == 2 and not any(b"in the clear" in c for c in stored.values())
    assert content in stored.values(), "what was encrypted goes as it is"
    assert plain["verdict"]["backup"]["encrypted_to"] == fingerprint
    assert get_content(instance, plain["id"])[1] == b"in the clear"
    assert get_content(instance, sealed["id"])[1] == content


def test_what_is_expected_and_does_not_come_is_announced_once(make_instance):
    instance = make_instance("--option", 'files.expectations=[{partner="acme", object="Invoices", days="daily", by="06:00", min_files=1}]')
    instance.advance("25h")
    about = lambda: [m for m in instance.mails() if "expect" in m["Subject"].lower() or "not come" in m.as_string().lower() or "missing" in m["Subject"].lower() or "late" in m["Subject"].lower()]
    first = wait_for("the mail", about)
    assert {m["To"] for m in first} >= {"files@acme.example.com"}
    instance.advance("600s")
    assert len(about()) == len(first), "once an occurrence"
