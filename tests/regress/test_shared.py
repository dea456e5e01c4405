"""/Shared as an ordinary SFTP server would do it, seen by OpenSSH's sftp; what is different is said."""
import os
import re
import subprocess

import paramiko
import pytest

from conftest import Instance


@pytest.fixture(scope="module")
def gate():
    made = Instance("--shared")
    yield made
    made.down()


def modes(gate, folder):
    """Name to mode of a long listing."""
    lines = [line.split(maxsplit=8) for line in gate.sftp(f"ls -la {folder}").stdout.splitlines() if re.match(r"[-d][r-]", line)]
    return {words[8].rsplit("/", 1)[-1]: words[0] for words in lines}


def test_modes_times_and_owners(gate, tmp_path):
    near = tmp_path / "a.csv"
    near.write_text("a,b\n")
    near.chmod(0o640)
    os.utime(near, (1_600_000_000, 1_600_000_001))
    gate.sftp("mkdir /Shared/modes", f"put -p {near} /Shared/modes/a.csv", "chmod 750 /Shared/modes")
    assert modes(gate, "/Shared/modes")["a.csv"] == "-rw-r-----"
    assert modes(gate, "/Shared")["modes"] == "drwxr-x---"
    gate.sftp("chmod 600 /Shared/modes/a.csv", "chown 12 /Shared/modes/a.csv", "chgrp 12 /Shared/modes/a.csv")
    assert modes(gate, "/Shared/modes")["a.csv"] == "-rw-------"
    listing = gate.sftp("ls -l /Shared/modes/a.csv").stdout
    assert "Sep 13  2020" in listing and " acme " in listing and " 4 " in listing
    # A folder stays open to the daemon, which counts what is in it; set-user-id bits are not for files of partners.
    gate.sftp("chmod 700 /Shared/modes", "chmod 4755 /Shared/modes/a.csv")
    assert modes(gate, "/Shared")["modes"].startswith("drwx") and modes(gate, "/Shared/modes")["a.csv"] == "-rwxr-xr-x"
    # The times of a folder, by path and by handle.
    gate.sftp(f"get -p /Shared/modes/a.csv {tmp_path}/back")
    assert int((tmp_path / "back").stat().st_mtime) == 1_600_000_001


def test_a_mode_is_kept_as_far_as_we_can_still_open_the_file(gate, tmp_path):
    near = tmp_path / "kept.csv"
    near.write_text("kept\n")
    gate.sftp("mkdir /Shared/kept", f"put {near} /Shared/kept/a.csv", "chmod 444 /Shared/kept/a.csv", "chmod 555 /Shared/kept")
    assert modes(gate, "/Shared/kept")["a.csv"] == "-r--r--r--" and modes(gate, "/Shared")["kept"] == "dr-xr-xr-x"
    gate.sftp("chmod 0 /Shared/kept/a.csv", "chmod 0 /Shared/kept")
    assert modes(gate, "/Shared")["kept"] == "dr-xr-x---", "that it can be changed again, and measured"
    assert modes(gate, "/Shared/kept")["a.csv"] == "-r--------"
    gate.sftp("chmod 700 /Shared/kept", "chmod 600 /Shared/kept/a.csv", f"put -f {near} /Shared/kept/a.csv", "rm /Shared/kept/a.csv",
              "rmdir /Shared/kept")


def test_elsewhere_modes_and_owners_are_accepted_without_effect(gate, tmp_path):
    near = tmp_path / "a.part"
    near.write_text("not ready\n")
    os.utime(near, (1_600_000_000, 1_600_000_001))
    gate.sftp(f"put -p {near} /Incoming/Invoices/a.part", "chmod 777 /Incoming/Invoices/a.part", "chown 0 /Incoming/Invoices/a.part",
              "chgrp 0 /Incoming/Invoices/a.part", "chmod 700 /Incoming/Invoices", "chmod 700 /Archive/Incoming/Invoices",
              "chown 7 /Outgoing/Invoices")
    listing = gate.sftp("ls -l /Incoming/Invoices/a.part").stdout
    assert listing.splitlines()[-1].startswith("-rw-r--r--") and "Sep 13  2020" in listing
    assert modes(gate, "/Incoming")["Invoices"] == "drwxr-xr-x" and modes(gate, "/Archive/Incoming")["Invoices"] == "dr-xr-xr-x"
    gate.sftp("rm /Incoming/Invoices/a.part")


def test_names_that_exist_are_replaced_or_kept_as_the_client_asks(gate, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        gate.sftp(f"put {tmp_path}/{name} /Shared/{name}")
    client = paramiko.SSHClient()
    client.load_host_keys(gate.env["SFTP_HOST_KEYS"])
    client.connect(gate.env["SFTP_HOST"], int(gate.env["SFTP_PORT"]), gate.env["SFTP_USER"], key_filename=gate.env["SFTP_KEY"],
                   look_for_keys=False, allow_agent=False)
    sftp = client.open_sftp()
    with pytest.raises(OSError):
        sftp.rename("/Shared/one", "/Shared/two")
    assert sftp.open("/Shared/two").read() == b"two"
    sftp.posix_rename("/Shared/one", "/Shared/two")
    assert sftp.open("/Shared/two").read() == b"one"
    with pytest.raises(OSError):
        sftp.open("/Shared/two", "x")
    with pytest.raises(OSError):
        sftp.stat("/Shared/one")
    client.close()


def test_a_folder_that_is_not_there_does_not_become_a_file(gate, tmp_path):
    """A slash at the end of a mistyped folder: the upload must not be taken as a file of that name."""
    (tmp_path / "a.csv").write_text("a,b\n")
    gate.sftp(f"put {tmp_path}/a.csv /Shared/slash.csv", f"put {tmp_path}/a.csv /Incoming/Invoices/slash.part")
    for refused in (f"put {tmp_path}/a.csv /Incoming/Invocies/", f"put {tmp_path}/a.csv /Shared/Invocies/",
                    "rename /Shared/slash.csv /Shared/Invocies/", "rename /Incoming/Invoices/slash.part /Incoming/Invocies/"):
        done = gate.sftp(refused, check=False)
        assert done.returncode != 0 and "No such file" in done.stderr, done.stderr
    assert "Invocies" not in gate.sftp("ls -1 /Incoming", "ls -1 /Shared").stdout.replace("put", "")
    assert gate.file_named("Invocies") is None
    gate.sftp("mkdir /Shared/before", "rename /Shared/before /Shared/after/", "ls /Shared/after/")  # folders may be written so


def test_copies_space_and_what_is_refused(gate, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(3_000_000))
    gate.sftp(f"put {tmp_path}/large /Shared/large", "mkdir /Shared/copies", "cp /Shared/large /Shared/copies/large",
              f"get /Shared/copies/large {tmp_path}/back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    assert re.search(r"\d+ +\d+ +\d+ +\d+ +\d+%", gate.sftp("df /Shared").stdout)
    for refused in ("symlink /Shared/large /Shared/link", "ln /Shared/large /Shared/link", "rename /Shared/large /Incoming/large",
                    "cp /Shared/large /Incoming/Invoices/large", "rm /Shared/copies", "rmdir /Shared/copies", "rmdir /Shared",
                    "mkdir /other", "rename /Shared /other", "get /Shared/nothing"):
        done = gate.sftp(refused, check=False)
        assert done.returncode != 0, refused
    names = gate.sftp("ls -1 /", "ls -1 /Shared").stdout
    assert "/other" not in names and "/Shared/link" not in names and "/Shared/large" in names
    # The program `scp` of today speaks SFTP.
    e = gate.env
    subprocess.run(["scp", "-q", "-s", "-F", "/dev/null", "-i", e["SFTP_KEY"], "-o", "IdentitiesOnly=yes", "-o",
                    f"UserKnownHostsFile={e['SFTP_HOST_KEYS']}", "-P", e["SFTP_PORT"], "-r", tmp_path,
                    f"{e['SFTP_USER']}@{e['SFTP_HOST']}:/Shared/by-scp"], check=True, capture_output=True, timeout=60)
    assert "large" in gate.sftp("ls -1 /Shared/by-scp").stdout
