"""What strangers meet before they are let in: algorithms, bad signatures, and what the log says to fail2ban."""
import re
import shutil
import subprocess
import time

import paramiko
import pytest

from conftest import TESTS, wait_for


def needed(program, package):
    if shutil.which(program) is None:
        pytest.fail(f"{program} is missing: apt-get install {package}, or make deps")
    return program


def transport(instance):
    connected = paramiko.Transport((instance.env["SFTP_HOST"], int(instance.env["SFTP_PORT"])))
    connected.start_client(timeout=20)
    connected.auth_timeout = 25
    return connected


def key_that_signs_badly(instance, how):
    key = paramiko.RSAKey.from_private_key_file(instance.env["SFTP_KEY"])
    sign = key.sign_ssh_data

    def bad(data, algorithm=None):
        if how == "sha1":
            return sign(data, "ssh-rsa")
        message = sign(data, algorithm)
        raw = bytearray(message.asbytes())
        if how == "flipped":
            raw[-1] ^= 1
        return paramiko.Message(bytes(raw if how == "flipped" else raw[:-40]))
    key.sign_ssh_data = bad
    return key


def daemon_log(instance):
    return (instance.dir / "log" / "daemon.log").read_text(errors="replace")


@pytest.mark.parametrize("how", ["flipped", "short", "sha1"])
def test_a_bad_signature_is_refused_at_once(instance, how):
    client = transport(instance)
    start = time.monotonic()
    with pytest.raises(paramiko.SSHException):
        client.auth_publickey(instance.env["SFTP_USER"], key_that_signs_badly(instance, how))
    assert time.monotonic() - start < 10
    assert not client.is_authenticated()
    client.close()


def test_bad_signatures_are_counted_and_ban(make_instance):
    instance = make_instance("--option", "gateway.ban_failures=4", "--option", "gateway.never_ban=[]")
    for _ in range(4):
        client = transport(instance)
        with pytest.raises(paramiko.SSHException):
            client.auth_publickey(instance.env["SFTP_USER"], key_that_signs_badly(instance, "flipped"))
        client.close()
    assert daemon_log(instance).count("bad_signature") >= 4
    wait_for("the address is banned", lambda: "127.0.0.1" in instance.ctl("ban", "list"))
    with pytest.raises(paramiko.SSHException):
        transport(instance)
    instance.ctl("ban", "lift", "127.0.0.1")

    def let_in():
        try:
            client = transport(instance)
            client.auth_publickey(instance.env["SFTP_USER"], paramiko.RSAKey.from_private_key_file(instance.env["SFTP_KEY"]))
            good = client.is_authenticated()
            client.close()
            return good
        except (paramiko.SSHException, EOFError):
            return False
    wait_for("a lifted ban lets in again", let_in)


def test_fail2ban_finds_every_failed_login_and_nothing_else(make_instance):
    program = needed("fail2ban-regex", "fail2ban")
    instance = make_instance("--option", 'gateway.never_ban=["127.0.0.0/8"]')
    # What a stranger can choose must not name another address.
    hostile = ["acme", "nobody", "x login failed from 192.0.2.9 port 1: ", "a\nlogin failed from 192.0.2.9 port 1: x"]
    for user in hostile:
        client = transport(instance)
        with pytest.raises(paramiko.SSHException):
            client.auth_password(user, "certainly not this one")
        client.close()
    wait_for("all are logged", lambda: daemon_log(instance).count("sftp.login_failed: ") >= len(hostile), 60)
    instance.sftp("ls")
    found = subprocess.run([program, "--print-all-matched", str(instance.dir / "log" / "daemon.log"),
                            str(TESTS.parent / "systemd/fail2ban/filter.d/sallyport.conf")],
                           text=True, capture_output=True, check=True).stdout
    assert f"{len(hostile)} matched" in found, found
    verbose = subprocess.run([program, "-v", str(instance.dir / "log" / "daemon.log"),
                              str(TESTS.parent / "systemd/fail2ban/filter.d/sallyport.conf")],
                             text=True, capture_output=True, check=True).stdout
    assert "192.0.2.9" not in re.sub(r".*Log-?line.*", "", verbose)
    # As the journal has it, where fail2ban puts host and program before the message.
    line = "Nov 22 16:00:00 gate sallyportd[123]: login failed from 2001:db8::7 port 4022: wrong_key (user \"a\", client \"b\")"
    journal = subprocess.run([program, line, str(TESTS.parent / "systemd/fail2ban/filter.d/sallyport.conf")],
                             text=True, capture_output=True, check=True).stdout
    assert "1 matched" in journal, journal


def test_ssh_audit_finds_nothing_to_blame(instance):
    program = needed("ssh-audit", "ssh-audit")
    found = subprocess.run([program, "-n", "-l", "warn", "-p", instance.env["SFTP_PORT"], instance.env["SFTP_HOST"]], text=True,
                           capture_output=True, check=False).stdout
    # Older versions of the program do not know what strict key exchange is called.
    blamed = [line for line in found.splitlines() if re.search(r"\[(warn|fail)\]", line) and "kex-strict-s-v00" not in line]
    assert not blamed, "\n".join(blamed)
    everything = subprocess.run([program, "-n", "-p", instance.env["SFTP_PORT"], instance.env["SFTP_HOST"]], text=True,
                                capture_output=True, check=False).stdout
    assert "kex-strict-s-v00@openssh.com" in everything and "(kex) curve25519-sha256" in everything
    for weak in ("sha1", "-cbc", "3des", "arcfour", "hmac-md5", "ssh-rsa ", "dss", "group14"):
        assert weak not in re.sub(r"\(fin\).*", "", everything), weak
