"""How partners come in and who is kept out, with the clients that they use: keys that overlap and end, passwords, both
together, addresses, suspension, and the sheet that tells them all of it."""
import datetime
import html
import itertools
import os
import re
import subprocess
import time

import paramiko
import pytest

from conftest import Instance, wait_for

PASSWORD = "correct horse battery"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def gate():
    made = Instance("--shared", "--option", 'gateway.never_ban=["127.0.0.0/8"]',
                    "--option", 'gateway.public_addresses=["198.51.100.20", "2001:db8::20"]',
                    "--option", 'gateway.login_grace="20s"')
    yield made
    made.down()


class Partner:
    """A partner of its own for each test, with one key."""

    def __init__(self, gate, scratch, name):
        self.gate, self.scratch, self.name = gate, scratch, name
        gate.ctl("partner", "create", name, "--email", f"{name}@example.com")
        self.key = self.add_key("first", "rsa", "-b", "2048")

    def add_key(self, label, kind, *options, expires=None):
        key = self.scratch / f"{self.name}-{label}"
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *options, "-N", "", "-C", label, "-f", key], check=True)
        self.gate.ctl("partner", "ssh-key", "add", self.name, f"{key}.pub", "--label", label,
                      *(["--expires", expires] if expires else []))
        return key

    def set_password(self, password=PASSWORD):
        path = self.scratch / "password.txt"
        path.write_text(password + "\n")
        self.gate.ctl("partner", "password", self.name, path)

    def fingerprint(self, key):
        return subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], text=True, capture_output=True, check=True).stdout.split()[1]

    def shown(self, label):
        return next(k for k in self.gate.json("partner", "show", self.name)["sshKeys"] if k["label"] == label)

    def sftp(self, *commands, key=None, password=None, user=None, options=()):
        """OpenSSH's sftp, with what it is given only; a password comes as from a person."""
        e, argv, env = self.gate.env, ["sftp"], {"HOME": str(self.scratch), "PATH": "/usr/bin:/bin"}
        argv += ["-F", "/dev/null", "-o", f"UserKnownHostsFile={e['SFTP_HOST_KEYS']}", "-o", "IdentityAgent=none", "-P", e["SFTP_PORT"]]
        argv += ["-i", str(key), "-o", "IdentitiesOnly=yes"] if key else ["-o", "PubkeyAuthentication=no"]
        if password:
            ask = self.scratch / "ask"
            ask.write_text(f"#!/bin/sh\necho '{password}'\n")
            ask.chmod(0o700)
            env |= {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
            argv += ["-o", "NumberOfPasswordPrompts=1", "-o", "BatchMode=no"]
        else:
            argv += ["-o", "BatchMode=yes"]
        argv += [*options, "-b", "-", f"{user or self.name}@{e['SFTP_HOST']}"]
        if password:  # -b sets BatchMode, and BatchMode never asks
            argv[argv.index("-b"):argv.index("-b") + 2] = []
        return subprocess.run(argv, input="\n".join(commands or ["ls"]) + "\n", text=True, capture_output=True, env=env, timeout=60,
                              check=False)

    def gets_in(self, **how):
        done = self.sftp("ls /", **how)
        assert done.returncode == 0 and "Incoming" in done.stdout, done.stdout + done.stderr

    def is_kept_out(self, **how):
        """And hears nothing but that."""
        done = self.sftp("ls /", **how)
        assert done.returncode != 0 and "Incoming" not in done.stdout, done.stdout
        return done.stderr

    def session(self, key=None):
        client = paramiko.SSHClient()
        client.load_host_keys(self.gate.env["SFTP_HOST_KEYS"])
        client.connect(self.gate.env["SFTP_HOST"], int(self.gate.env["SFTP_PORT"]), self.name, key_filename=str(key or self.key),
                       look_for_keys=False, allow_agent=False)
        return client


@pytest.fixture
def partner(gate, tmp_path):
    return Partner(gate, tmp_path, f"partner-{next(numbers)}")


def test_two_keys_overlap_and_each_shows_when_it_was_used(gate, partner):
    second = partner.add_key("second", "ed25519")
    assert partner.shown("first")["lastUsed"] is None and partner.shown("second")["lastUsed"] is None
    partner.gets_in(key=partner.key)
    wait_for("the first key was used", lambda: partner.shown("first")["lastUsed"])
    assert partner.shown("second")["lastUsed"] is None
    partner.gets_in(key=second)
    wait_for("the second key was used", lambda: partner.shown("second")["lastUsed"])
    text = gate.ctl("partner", "show", partner.name)
    assert partner.fingerprint(second) in text and partner.shown("second")["lastUsed"][:10] in text
    gate.advance("2d")
    before = partner.shown("first")["lastUsed"]
    partner.gets_in(key=second)
    wait_for("the second key was used again", lambda: partner.shown("second")["lastUsed"] > before)
    gate.ctl("partner", "ssh-key", "remove", partner.name, partner.fingerprint(partner.key))
    partner.is_kept_out(key=partner.key)
    partner.gets_in(key=second)


def test_every_kind_of_key_that_is_named_gets_in_and_weaker_ones_are_not_taken(gate, partner, tmp_path):
    for label, kind, bits in [("rsa4096", "rsa", "4096"), ("p256", "ecdsa", "256"), ("p384", "ecdsa", "384"), ("p521", "ecdsa", "521")]:
        partner.gets_in(key=partner.add_key(label, kind, "-b", bits))
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", tmp_path / "weak"], check=True)
    assert "2048" in gate.ctl_fails("partner", "ssh-key", "add", partner.name, tmp_path / "weak.pub")
    partner.is_kept_out(key=tmp_path / "weak")


def test_a_key_lets_in_through_its_last_day_and_is_announced(gate, partner):
    now = datetime.datetime.fromisoformat(partner.shown("first")["added"])  # by the gateway's clock, which others have moved
    ends = partner.add_key("ends", "ed25519", expires=(now + datetime.timedelta(days=40)).date().isoformat())
    partner.gets_in(key=ends)
    gate.advance("30d")
    partner.gets_in(key=ends)
    gate.advance("12d")
    partner.is_kept_out(key=ends)
    partner.gets_in(key=partner.key)
    told = [m for m in gate.mails() if partner.fingerprint(ends) in m.get_body(("plain",)).get_content()]
    assert told, "nobody was told that a key ends"
    assert any(f"{partner.name}@example.com" in str(m["To"]) for m in told), [str(m["To"]) for m in told]


def test_a_password_lets_in_and_is_kept_as_yescrypt(gate, partner, tmp_path):
    partner.is_kept_out(password=PASSWORD)
    short = tmp_path / "short"
    short.write_text("elevenchars\n")
    assert "12" in gate.ctl_fails("partner", "password", partner.name, short)
    partner.set_password()
    partner.gets_in(password=PASSWORD)
    partner.is_kept_out(password=PASSWORD + "!")
    partner.gets_in(key=partner.key)  # either will do
    stored = subprocess.run(["sqlite3", "-readonly", gate.dir / "sallyport.db",
                             f"SELECT password_hash FROM partner WHERE name = '{partner.name}'"],
                            text=True, capture_output=True, check=True).stdout
    assert stored.startswith("$y$") and PASSWORD not in stored
    assert PASSWORD not in (gate.dir / "log" / "daemon.log").read_text()
    gate.ctl("partner", "password", partner.name, "--remove")
    partner.is_kept_out(password=PASSWORD)


def test_key_and_password_together(gate, partner):
    partner.set_password()
    gate.ctl("partner", "update", partner.name, "--auth", "key+password")
    partner.is_kept_out(key=partner.key)
    partner.is_kept_out(password=PASSWORD)
    partner.is_kept_out(key=partner.key, password="certainly not this one")
    partner.gets_in(key=partner.key, password=PASSWORD)
    wait_for("its use is noted", lambda: partner.shown("first")["lastUsed"])
    stranger = partner.scratch / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    partner.is_kept_out(key=stranger, password=PASSWORD)
    client = paramiko.SSHClient()
    client.load_host_keys(gate.env["SFTP_HOST_KEYS"])
    client.connect(gate.env["SFTP_HOST"], int(gate.env["SFTP_PORT"]), partner.name, key_filename=str(partner.key), password=PASSWORD,
                   look_for_keys=False, allow_agent=False)
    assert "Incoming" in client.open_sftp().listdir("/")
    client.close()


def test_one_way_to_log_in_alone(gate, partner):
    partner.set_password()
    gate.ctl("partner", "update", partner.name, "--auth", "key")
    partner.gets_in(key=partner.key)
    partner.is_kept_out(password=PASSWORD)
    gate.ctl("partner", "update", partner.name, "--auth", "password")
    partner.gets_in(password=PASSWORD)
    partner.is_kept_out(key=partner.key)


def test_only_addresses_that_are_allowed(gate, partner):
    gate.ctl("partner", "update", partner.name, "--allow", "192.0.2.0/24", "--allow", "2001:db8::/32")
    partner.is_kept_out(key=partner.key)
    gate.ctl("partner", "update", partner.name, "--allow", "192.0.2.0/24", "--allow", "127.0.0.0/8")
    partner.gets_in(key=partner.key)
    gate.ctl("partner", "update", partner.name, "--allow", "any")
    partner.gets_in(key=partner.key)


def test_whoever_is_kept_out_cannot_tell_why(gate, partner):
    partner.set_password()
    wrong = partner.scratch / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", wrong], check=True)

    def answers(user):
        return [partner.is_kept_out(user=user, **how).replace(user, "USER").splitlines()[0]
                for how in ({"key": wrong}, {"password": "certainly not this one"})]
    wrong_credentials = answers(partner.name)
    assert wrong_credentials == [f"USER@{gate.env['SFTP_HOST']}: Permission denied (publickey,password)."] * 2
    assert answers("nobody-of-that-name") == wrong_credentials
    gate.ctl("partner", "update", partner.name, "--allow", "192.0.2.0/24")
    assert answers(partner.name) == wrong_credentials
    gate.ctl("partner", "update", partner.name, "--allow", "any")
    gate.ctl("partner", "suspend", partner.name)
    assert answers(partner.name) == wrong_credentials
    assert partner.is_kept_out(key=partner.key).replace(partner.name, "USER").splitlines()[0] == wrong_credentials[0]


def test_suspension_ends_what_runs_and_keeps_out(gate, partner):
    client = partner.session()
    sftp = client.open_sftp()
    upload = sftp.open("/Incoming/Invoices/cut-off.csv", "w")
    upload.write(b"a,b\n" * 10_000)
    upload.flush()
    idle = subprocess.Popen(["sftp", "-F", "/dev/null", "-i", partner.key, "-o", "IdentitiesOnly=yes", "-o",
                             f"UserKnownHostsFile={gate.env['SFTP_HOST_KEYS']}", "-P", gate.env["SFTP_PORT"],
                             f"{partner.name}@{gate.env['SFTP_HOST']}"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    idle.stdin.write("pwd\n")
    idle.stdin.flush()
    assert "Remote working directory" in idle.stdout.readline() + idle.stdout.readline()
    start = time.monotonic()
    gate.ctl("partner", "suspend", partner.name)
    wait_for("the busy session ends", lambda: not client.get_transport().is_active(), 5)
    # sftp itself waits at its prompt: the ssh that it started knows.
    os.set_blocking(idle.stderr.fileno(), False)
    wait_for("the idle session ends", lambda: "suspended" in (idle.stderr.read() or ""), 5)
    assert time.monotonic() - start < 5
    idle.stdin.close()
    idle.wait(10)
    partner.is_kept_out(key=partner.key)
    client.close()
    gate.ctl("partner", "resume", partner.name)
    partner.gets_in(key=partner.key)
    # What was under way is a part of a file, to be resumed; it was not taken.
    wait_for("the part is kept", lambda: "cut-off.csv" in partner.sftp("ls /Incoming/Invoices", key=partner.key).stdout)
    assert gate.file_named("cut-off.csv") is None or gate.file_named("cut-off.csv")["state"].lower() != "archived"


def test_a_key_that_is_removed_ends_its_sessions_alone(gate, partner):
    second = partner.add_key("second", "ed25519")
    first_session, second_session = partner.session(), partner.session(second)
    gate.ctl("partner", "ssh-key", "remove", partner.name, partner.fingerprint(partner.key))
    wait_for("its session ends", lambda: not first_session.get_transport().is_active(), 5)
    assert "Incoming" in second_session.open_sftp().listdir("/")
    first_session.close()
    second_session.close()


# ---------------------------------------------------------------------- the sheet
def known_hosts_of(sheet, port):
    return [line for line in sheet.splitlines() if line.startswith(f"[127.0.0.1]:{port} ")]


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_the_sheet_says_what_the_partner_needs(gate, partner, form):
    e = gate.env
    sheet = html.unescape(gate.ctl("partner", "sheet", partner.name, "--format", form))
    shown = subprocess.run(["ssh-keygen", "-lf", e["SFTP_HOST_KEYS"]], text=True, capture_output=True, check=True).stdout
    for fingerprint in re.findall(r"SHA256:\S+", shown):
        assert fingerprint in sheet
    for fact in (e["SFTP_HOST"], e["SFTP_PORT"], partner.name, partner.fingerprint(partner.key), "198.51.100.20", "2001:db8::20",
                 e["GATEWAY_PGP_FINGERPRINT"], "-----BEGIN PGP PUBLIC KEY BLOCK-----", "/Incoming/", "/Outgoing/", "/Archive/Failed/",
                 "/Shared", "Invoices", "10 connections", "cut short", "rclone"):
        assert fact in " ".join(sheet.split()), fact
    if form == "html":
        assert sheet.count("<html") == 1 and "</html>" in sheet


def test_what_the_sheet_says_works_as_it_stands(gate, partner, tmp_path):
    sheet = gate.ctl("partner", "sheet", partner.name)
    known = tmp_path / "known_hosts"
    known.write_text("\n".join(known_hosts_of(sheet, gate.env["SFTP_PORT"])) + "\n")
    assert len(known.read_text().splitlines()) >= 2
    # The example session, word for word.
    command, *session = [line.removeprefix("$ ").removeprefix("sftp> ") for line in sheet.splitlines()
                         if line.startswith(("$ sftp", "sftp> "))]
    (tmp_path / "example.csv.pgp").write_text("plain\n")
    argv = command.split()
    assert argv[0] == "sftp" and argv[argv.index("-i") + 1] == "id_ed25519"
    partner.add_key("sheet", "ed25519").rename(tmp_path / "id_ed25519")
    done = subprocess.run([argv[0], "-q", "-F", "/dev/null", "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes",
                           "-o", "IdentitiesOnly=yes", "-b", "-", *argv[1:]], cwd=tmp_path,
                          input="\n".join(line for line in session if not line.startswith("get")) + "\n", text=True, capture_output=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # Our PGP key can be encrypted to.
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    block = sheet[sheet.index("-----BEGIN PGP"):sheet.index("-----END PGP PUBLIC KEY BLOCK-----") + 40]
    gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--no-autostart"]
    subprocess.run([*gpg, "--import"], input=block, text=True, check=True, capture_output=True)
    subprocess.run([*gpg, "--trust-model", "always", "-r", gate.env["GATEWAY_PGP_FINGERPRINT"], "-o", tmp_path / "sealed", "-e",
                    tmp_path / "example.csv.pgp"], check=True, capture_output=True)
    assert (tmp_path / "sealed").stat().st_size > 100


def test_the_sheet_names_the_algorithms_that_the_server_has(gate, partner):
    """Each of them alone is enough to get in; what it does not name is not there."""
    sheet = gate.ctl("partner", "sheet", partner.name)

    def listed(title):
        line = next(line for line in sheet.splitlines() if line.strip().startswith(f"* {title}"))
        return re.findall(r"[a-z0-9@.+-]*\d[a-z0-9@.+-]*", line.split(":", 1)[1])
    ciphers, macs, exchanges = listed("ciphers"), listed("MACs"), listed("key exchange")
    assert "aes128-gcm@openssh.com" in ciphers and "curve25519-sha256" in exchanges and "hmac-sha2-256-etm@openssh.com" in macs
    for option, names in (("Ciphers", ciphers), ("KexAlgorithms", exchanges)):
        for name in names:
            partner.gets_in(key=partner.key, options=("-o", f"{option}={name}"))
    for name in macs:
        partner.gets_in(key=partner.key, options=("-o", f"MACs={name}", "-o", "Ciphers=aes256-ctr"))
    for option, query, names in (("Ciphers", "cipher", ciphers), ("KexAlgorithms", "kex", exchanges)):
        known = subprocess.run(["ssh", "-Q", query], text=True, capture_output=True, check=True).stdout.split()
        others = ",".join(sorted(set(known) - set(names)))
        assert "no matching" in partner.is_kept_out(key=partner.key, options=("-o", f"{option}={others}"))
