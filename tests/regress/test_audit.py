"""What partners do, and who was refused, as administrators find it: in the store and in the log, with address, client, key,
bytes and duration."""
import json
import os
import sqlite3
import subprocess

import paramiko
import pytest

from conftest import Instance, wait_for


@pytest.fixture(scope="module")
def gate():
    made = Instance("--shared", "--option", 'partner.signature="optional"', "--option", 'gateway.never_ban=["127.0.0.0/8"]',
                    "--option", "partner.connections=3")
    yield made
    made.down()


def events(gate, **only):
    """Rows of the audit, oldest first."""
    with sqlite3.connect(f"file:{gate.dir}/sallyport.db?mode=ro", uri=True) as store:
        store.row_factory = sqlite3.Row
        rows = [dict(row) for row in store.execute("SELECT * FROM session_event ORDER BY event_number")]
    return [row for row in rows if all(row[name] == value for name, value in only.items())]


def session(gate, run):
    """The rows of the session that `run` holds, when its end is recorded, too."""
    before = len(events(gate))
    run()
    return wait_for("the end is recorded", lambda: (found := events(gate)[before:]) and found[-1]["event_name"] == "logout" and found)


def logged(gate, event, *parts):
    """Lines of the daemon's log about an event that hold all the parts."""
    lines = (gate.dir / "log" / "daemon.log").read_text(errors="replace").splitlines()
    return [line for line in lines if f" {event}: " in line and all(part in line for part in parts)]


def fingerprint(public):
    return subprocess.run(["ssh-keygen", "-lf", public], text=True, capture_output=True, check=True).stdout.split()[1]


def banner():
    version = subprocess.run(["ssh", "-V"], text=True, capture_output=True, check=True).stderr
    return "SSH-2.0-" + version.split(",")[0]


def test_everything_that_a_session_did(gate, tmp_path):
    e = gate.env
    (tmp_path / "a.csv").write_bytes(os.urandom(100_000))
    gate.command("restart")  # so that this is the first session of all
    script = [f'put "{tmp_path}/a.csv" /Shared/a.csv', "mkdir /Shared/folder", "rename /Shared/a.csv /Shared/folder/b.csv",
              f'get /Shared/folder/b.csv "{tmp_path}/b.csv"', "rm /Shared/folder/b.csv", "rmdir /Shared/folder",
              f'put "{tmp_path}/a.csv" /Incoming/Invoices/taken.csv', f'put "{tmp_path}/a.csv" /Incoming/Invoices/c.part',
              "rename /Incoming/Invoices/c.part /Incoming/Invoices/c.csv", f'-put "{tmp_path}/a.csv" /Outgoing/Invoices/no.csv']
    rows = session(gate, lambda: gate.sftp(*script))
    told = [(row["event_name"], row["path"], row["bytes"], row["detail"]) for row in rows if row["event_name"] not in ("refused", "logout")]
    ids = {row["path"]: row["detail"] for row in rows if row["path"].startswith("/Incoming") and row["event_name"] == "upload"}
    assert told == [
        ("login", "", 0, "publickey"),
        ("upload", "/Shared/a.csv", 100_000, ""),
        ("mkdir", "/Shared/folder", 0, ""),
        ("rename", "/Shared/a.csv", 0, "/Shared/folder/b.csv"),
        ("download", "/Shared/folder/b.csv", 100_000, ""),
        ("delete", "/Shared/folder/b.csv", 100_000, ""),
        ("rmdir", "/Shared/folder", 0, ""),
        ("upload", "/Incoming/Invoices/taken.csv", 100_000, ids["/Incoming/Invoices/taken.csv"]),
        ("waiting", "/Incoming/Invoices/c.part", 100_000, ""),
        ("upload", "/Incoming/Invoices/c.csv", 100_000, ids["/Incoming/Invoices/c.csv"]),
        ("rename", "/Incoming/Invoices/c.part", 0, "/Incoming/Invoices/c.csv"),
    ], json.dumps(told, indent=1)
    refused = [row for row in rows if row["event_name"] == "refused"]
    assert [row["path"] for row in refused] == ["/Outgoing/Invoices/no.csv"] and refused[0]["detail"]
    key = fingerprint(f"{e['SFTP_KEY']}.pub")
    for row in rows:
        assert (row["partner"], row["address"], row["fingerprint"], row["banner"]) == ("acme", "127.0.0.1", key, banner()), row
    took = [row["duration_ms"] for row in rows if row["event_name"] in ("upload", "download")]
    assert all(0 <= time < 60_000 for time in took), took
    assert rows[-1]["bytes"] == 400_000 and rows[-1]["duration_ms"] >= sum(took)
    for event, path in (("upload", "/Shared/a.csv"), ("download", "/Shared/folder/b.csv"), ("rename", "/Shared/a.csv"),
                        ("delete", "/Shared/folder/b.csv"), ("upload", "/Incoming/Invoices/taken.csv")):
        assert logged(gate, f"sftp.{event}", f"path={path} ", "partner=acme", "address=127.0.0.1", f"fingerprint={key}",
                      banner().split()[0], "bytes=", "duration_ms="), event
    assert logged(gate, "sftp.login", "partner=acme", "address=127.0.0.1", f"fingerprint={key}", banner().split()[0])


def test_administrators_read_it_from_the_command_line(gate):
    session(gate, lambda: gate.sftp("ls /"))
    rows = events(gate, partner="acme")
    shown = gate.items("audit", "--partner", "acme", "--limit", 10000)
    assert [(one["event"], one["path"], one["bytes"], one["address"], one["client"], one["fingerprint"], one["durationMs"], one["detail"])
            for one in reversed(shown)] == [(row["event_name"], row["path"], row["bytes"], row["address"], row["banner"], row["fingerprint"],
                                             row["duration_ms"], row["detail"]) for row in rows]
    assert gate.items("audit", "--until", "2020-01-01") == [] and gate.items("audit", "--partner", "nobody-at-all") == []
    assert len(gate.items("audit", "--since", "2020-01-01", "--limit", 2)) == 2
    table = gate.ctl("audit", "--limit", 1)
    assert table.split()[:6] == ["TIME", "(UTC)", "PARTNER", "ADDRESS", "EVENT", "WHAT"] and "There are older ones" in table
    assert "2026-11-22" in gate.ctl_fails("audit", "--since", "yesterday"), "what a date looks like"


def test_a_download_that_broke_off_is_told_from_a_full_one(gate):
    with open(gate.dir / "big", "wb") as big:
        big.write(os.urandom(2_000_000))
    gate.sftp(f'put "{gate.dir}/big" /Shared/big')
    client = paramiko.SSHClient()
    client.load_host_keys(gate.env["SFTP_HOST_KEYS"])
    client.connect(gate.env["SFTP_HOST"], int(gate.env["SFTP_PORT"]), gate.env["SFTP_USER"], key_filename=gate.env["SFTP_KEY"],
                   look_for_keys=False, allow_agent=False)
    with client.open_sftp().open("/Shared/big") as file:
        assert len(file.read(50_000)) == 50_000
    client.close()
    row = wait_for("it is recorded", lambda: events(gate, event_name="download", path="/Shared/big"))[0]
    assert row["bytes"] == 50_000 and row["detail"].startswith("partial") and row["banner"].startswith("SSH-2.0-paramiko")


class Stranger:
    def __init__(self, gate, scratch):
        self.gate, self.scratch = gate, scratch
        self.key = scratch / "stranger"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.fingerprint = fingerprint(f"{self.key}.pub")

    def key_login(self, user, key=None):
        e = self.gate.env
        argv = ["sftp", "-F", "/dev/null", "-i", key or self.key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-P", e["SFTP_PORT"],
                "-o", f"UserKnownHostsFile={e['SFTP_HOST_KEYS']}", "-b", "-", f"{user}@{e['SFTP_HOST']}"]
        done = subprocess.run(argv, input="ls\n", text=True, capture_output=True, timeout=60, check=False)
        assert done.returncode != 0
        return done.stderr

    def password_login(self, user, password="certainly not this one"):
        transport = paramiko.Transport((self.gate.env["SFTP_HOST"], int(self.gate.env["SFTP_PORT"])))
        transport.start_client(timeout=20)
        with pytest.raises(paramiko.SSHException):
            transport.auth_password(user, password)
        transport.close()

    def refusal(self, user, reason, key=""):
        """The one new refusal, which has to say all of that."""
        def found():
            return events(self.gate, event_name="login_failed", partner=user, detail=reason)
        row = wait_for(f"{user} was refused for {reason}", found)
        assert len(row) == 1, row
        assert row[0]["address"] == "127.0.0.1" and row[0]["banner"].startswith("SSH-2.0-") and row[0]["fingerprint"] == key, row[0]


@pytest.fixture
def stranger(gate, tmp_path):
    return Stranger(gate, tmp_path)


def partner(gate, name, *options):
    gate.ctl("partner", "create", name, "--email", f"{name}@example.com", *options)
    gate.ctl("partner", "ssh-key", "add", name, f"{gate.env['SFTP_KEY']}.pub")
    return name


def test_every_refusal_has_its_reason_for_us_alone(gate, stranger, tmp_path):
    ours = fingerprint(f"{gate.env['SFTP_KEY']}.pub")
    stranger.key_login("nobody-here")
    stranger.refusal("nobody-here", "unknown_user", stranger.fingerprint)
    stranger.key_login(partner(gate, "other-key"))
    stranger.refusal("other-key", "unknown_key", stranger.fingerprint)
    stranger.password_login(partner(gate, "no-password"))
    stranger.refusal("no-password", "no_password_set")
    (tmp_path / "password").write_text("correct horse battery\n")
    gate.ctl("partner", "password", partner(gate, "password"), tmp_path / "password")
    stranger.password_login("password")
    stranger.refusal("password", "wrong_password")
    partner(gate, "elsewhere", "--allow", "192.0.2.0/24")
    stranger.key_login("elsewhere", gate.env["SFTP_KEY"])
    stranger.refusal("elsewhere", "address_not_allowed", ours)
    gate.ctl("partner", "suspend", partner(gate, "suspended"))
    stranger.key_login("suspended", gate.env["SFTP_KEY"])
    stranger.refusal("suspended", "suspended", ours)
    partner(gate, "key-first", "--auth", "key+password")
    stranger.password_login("key-first")
    stranger.refusal("key-first", "key_needed_first")
    for user in ("nobody-here", "other-key", "elsewhere", "suspended"):
        assert logged(gate, "sftp.login_given_up", f'user "{user}"', f"partner={user} ", "address=127.0.0.1", "fingerprint=SHA256:"), user
    for user in ("no-password", "password", "key-first"):
        assert logged(gate, "sftp.login_failed", f'user "{user}"', f"partner={user} ", "login failed from 127.0.0.1 port "), user


def test_a_bad_signature_and_too_many_connections_are_refusals_too(gate, stranger):
    partner(gate, "forger")
    key = paramiko.RSAKey.from_private_key_file(gate.env["SFTP_KEY"])
    sign = key.sign_ssh_data

    def bad(data, algorithm=None):
        raw = bytearray(sign(data, algorithm).asbytes())
        raw[-1] ^= 1
        return paramiko.Message(bytes(raw))
    key.sign_ssh_data = bad
    transport = paramiko.Transport((gate.env["SFTP_HOST"], int(gate.env["SFTP_PORT"])))
    transport.start_client(timeout=20)
    with pytest.raises(paramiko.SSHException):
        transport.auth_publickey("forger", key)
    transport.close()
    wait_for("the bad signature is recorded", lambda: events(gate, event_name="login_failed", partner="forger", detail="bad_signature"))

    partner(gate, "crowd")
    good = paramiko.RSAKey.from_private_key_file(gate.env["SFTP_KEY"])
    open_ones = []
    for _ in range(3):
        made = paramiko.Transport((gate.env["SFTP_HOST"], int(gate.env["SFTP_PORT"])))
        made.connect(username="crowd", pkey=good)
        open_ones.append(made)
    assert "Too many connections: this account may have 3 at once" in stranger.key_login("crowd", gate.env["SFTP_KEY"])
    stranger.refusal("crowd", "too_many_connections", fingerprint(f"{gate.env['SFTP_KEY']}.pub"))
    for made in open_ones:
        made.close()


def test_it_is_kept_for_as_long_as_the_policy_says(make_instance):
    gate = make_instance("--option", 'gateway.audit_keep="2d"')
    session(gate, lambda: gate.sftp("ls /"))
    gate.advance("47h")
    assert [row["event_name"] for row in events(gate)] == ["login", "logout"]
    session(gate, lambda: gate.sftp("ls /"))
    gate.advance("25h")
    assert [row["event_name"] for row in events(gate)] == ["login", "logout"], "those of yesterday"
    assert len(logged(gate, "audit.pruned", "removed 2 rows ")) == 1
