"""What around the programs is broken, full, locked or gone: one clear line each, nothing lost, and it goes on by
itself when that is mended."""
import hashlib
import json
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess

import pytest

from conftest import WEAK_SANDBOX, wait_for
from test_bad_start import EXIT_FAILURE, start


def health(instance):
    return {c["name"]: c["sentence"] for c in instance.json("status")["health"]}


def state(instance):
    return json.loads((instance.dir / "state.json").read_text())


def make(scratch, name, text):
    path = scratch / name
    path.write_text(text)
    return path


def daemon_log(instance):
    return (instance.dir / "log" / "daemon.log").read_text(errors="replace")


def test_a_locked_database_delays_and_loses_nothing(make_instance, scratch):
    instance = make_instance()
    key = instance.json("key", "create", "--template", "CUSTOM", "--name", "kept", "--privilege", "PLATFORM/SOURCE/VIEW")
    lock = sqlite3.connect(instance.dir / "sallyport.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        assert instance.verify(key["value"]) == 200, "verification needs no store"
        said = instance.ctl_fails("key", "create", "--template", "CUSTOM", "--name", "later", "--privilege", "PLATFORM/SOURCE/VIEW")
        assert "lock" in said.lower() or "database" in said.lower(), said
        assert len(said.strip().splitlines()) == 1, said
        sealed = instance.seal(make(scratch, "locked.csv", "a,b\n"), scratch / "locked.csv.pgp")
        instance.sftp(f"put {sealed} /Incoming/Users/")  # an OK waits for no database
        listed = [line for path in (instance.dir / "partners").glob("*/staging/*.intents.1") for line in path.read_text().splitlines()]
        assert [line.split("\t")[1:] for line in listed[1:]] == [
            [str(sealed.stat().st_size), hashlib.sha256(sealed.read_bytes()).hexdigest(), f"/Incoming/Users/{sealed.name}"]]
        wait_for("health says so", lambda: "files.unrecorded" in health(instance), 60)
    finally:
        lock.rollback()
        lock.close()
    wait_for("the store is back", lambda: "store.unavailable" not in health(instance))
    instance.ctl("key", "create", "--template", "CUSTOM", "--name", "later", "--privilege", "PLATFORM/SOURCE/VIEW")

    def archived():
        return [f for f in instance.items("files", "list") if f["name"] == sealed.name and f["state"] == "archived"]

    wait_for("it is archived", archived, 60)
    instance.advance("10min")  # past every sweep: what was begun does not come twice
    assert len(archived()) == 1
    assert [p.name for p in instance.inbound("Users").glob("locked*")] == ["locked.csv"]


def test_a_database_server_that_dies_and_comes_back(make_instance, scratch):
    instance = make_instance("--store", "mariadb")
    key = instance.json("key", "create", "--template", "CUSTOM", "--name", "kept", "--privilege", "PLATFORM/SOURCE/VIEW")
    server = pathlib.Path(state(instance)["run"]) / "mariadb"
    tool = pathlib.Path(__file__).resolve().parent.parent / "mariadb"
    subprocess.run([tool, "kill", server], check=True, capture_output=True)
    assert instance.verify(key["value"]) == 200
    said = instance.ctl_fails("key", "list")
    assert len(said.strip().splitlines()) == 1, said
    wait_for("health says so", lambda: "store.unavailable" in health(instance), 60)
    subprocess.run([tool, "start", server], check=True, capture_output=True)
    wait_for("the store is back", lambda: "store.unavailable" not in health(instance), 60)
    sealed = instance.seal(make(scratch, "after.csv", "a,b\n"), scratch / "after.csv.pgp")
    instance.sftp(f"put {sealed} /Incoming/Users/")
    instance.wait_state(sealed.name, "archived", seconds=60)
    assert [k["id"] for k in instance.items("key", "list")] == [key["id"]]


def test_a_daemon_starts_before_its_database_server(make_instance):
    instance = make_instance("--store", "mariadb")
    key = instance.json("key", "create", "--template", "CUSTOM", "--name", "kept", "--privilege", "PLATFORM/SOURCE/VIEW")
    server = pathlib.Path(state(instance)["run"]) / "mariadb"
    tool = pathlib.Path(__file__).resolve().parent.parent / "mariadb"
    instance.stop("daemon")
    subprocess.run([tool, "stop", server], check=True, capture_output=True)
    instance.command("start-programs")  # without the server
    assert "store.unavailable" in health(instance)
    assert instance.verify(key["value"]) in (401, 403), "a daemon that knows no keys admits nobody"
    subprocess.run([tool, "start", server], check=True, capture_output=True)
    wait_for("keys are known", lambda: instance.verify(key["value"]) == 200, 60)


def test_an_http_port_in_use_is_named(instance, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        lines = (instance.dir / "sallyport.toml").read_text().splitlines()
        # Everything of its own but the port.
        text = "\n".join(f'listen = "127.0.0.1:{port}"' if line.startswith("listen =") else
                         line.replace(str(instance.dir), str(tmp_path)).replace(state(instance)["run"], str(tmp_path))
                         for line in lines)
        for name in ("partners", "inbound", "outbound", "files", "backup", "credentials"):
            (tmp_path / name).mkdir()
        shutil.copy(instance.dir / "credentials" / "activity.key", tmp_path / "credentials")
        path = make(tmp_path, "sallyport.toml", text)
        code, output = start("sallyportd", "--config", path)
    assert code == EXIT_FAILURE, output
    line = output.strip().splitlines()[-1]
    assert str(port) in line and "in use" in line.lower(), output


def test_a_host_key_that_others_can_read_is_refused(instance, tmp_path):
    keys = tmp_path / "keys"
    shutil.copytree(instance.dir / "host-keys", keys)
    victim = next(p for p in keys.iterdir() if p.is_file() and p.suffix != ".pub")
    victim.chmod(0o644)
    code, output = start("sallyport-sftp", *WEAK_SANDBOX, "--listen", "127.0.0.1:0", "--broker", instance.dir / "run/broker.sock", "--host-keys", keys,
                         "--partners-root", instance.dir / "partners")
    assert code == EXIT_FAILURE and victim.name in output, output


@pytest.mark.parametrize("how", ["a file in its place", "a path too long for a socket"])
def test_an_agent_that_cannot_start_makes_encrypted_files_wait(make_instance, scratch, how):
    instance = make_instance()
    home = pathlib.Path(state(instance)["run"]) / "gnupg"
    configuration = instance.dir / "sallyport.toml"
    good = configuration.read_text()
    instance.stop("daemon")
    kept = home.with_name("kept")
    home.rename(kept)
    if how.startswith("a file"):
        home.write_text("not a directory\n")
    else:
        far = instance.dir / ("x" * 100)
        kept.rename(far)
        configuration.write_text(good.replace(str(home), str(far)))
    instance.restart()
    said = health(instance)
    assert "pgp.unavailable" in said and len(said["pgp.unavailable"].splitlines()) == 1, said
    sealed = instance.seal(make(scratch, "waits.csv", "a,b\n" * 100), scratch / "waits.csv.pgp")
    instance.sftp(f"put {sealed} /Incoming/Users/")
    row = instance.file_named(sealed.name)
    assert row and row["state"].lower() not in ("failed", "archived"), row
    instance.stop("daemon")
    if how.startswith("a file"):
        home.unlink()
        kept.rename(home)
    else:
        far.rename(home)
        configuration.write_text(good)
    instance.restart()
    instance.wait_state(sealed.name, "archived", seconds=60)
    assert instance.inbound("Users", "waits.csv").read_text() == "a,b\n" * 100
    assert "pgp.unavailable" not in health(instance)


class SmallDisk:
    """A tmpfs over a directory, for root where the system lets it."""

    def __init__(self, path, size):
        self.path = path
        result = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", path], capture_output=True, text=True, check=False)
        self.mounted = result.returncode == 0

    def grow(self, size):
        subprocess.run(["mount", "-o", f"remount,size={size}", self.path], check=True, capture_output=True)

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.path], check=True, capture_output=True)


@pytest.fixture
def small_disk():
    made = []

    def make_one(path, size):
        if os.geteuid() != 0:
            pytest.skip("mounting needs root")
        made.append(SmallDisk(path, size))
        if not made[-1].mounted:
            pytest.skip("this system does not let us mount")
        return made[-1]

    yield make_one
    for one in made:
        one.close()


def test_a_full_disk_where_files_are_delivered_makes_them_wait(make_instance, small_disk, scratch):
    instance = make_instance()
    instance.stop("daemon")
    disk = small_disk(instance.dir / "inbound", "1m")
    instance.restart()
    big = make(scratch, "big.csv", "0123456789abcdef\n" * 300000)  # 5 MB, a few KB when gpg has compressed it
    sealed = instance.seal(big, scratch / "big.csv.pgp")
    instance.sftp(f"put {sealed} /Incoming/Users/")

    def stuck():
        row = instance.file_named(sealed.name)
        assert row["state"].lower() != "failed", row
        return "files.stuck" in health(instance)

    wait_for("it waits for the disk", stuck, 30)
    disk.grow("64m")
    instance.advance("15min")
    instance.wait_state(sealed.name, "archived", seconds=60)
    assert instance.inbound("Users", "big.csv").read_bytes() == big.read_bytes()


def test_a_full_disk_where_uploads_go_is_said_to_the_client(make_instance, small_disk, scratch):
    instance = make_instance()
    instance.stop("all")
    kept = instance.dir / "partners.kept"
    shutil.copytree(instance.dir / "partners", kept)
    disk = small_disk(instance.dir / "partners", "1m")
    for entry in kept.iterdir():
        shutil.copytree(entry, instance.dir / "partners" / entry.name)
    instance.restart()
    big = scratch / "noise.bin"
    big.write_bytes(os.urandom(3 << 20))
    sealed = instance.seal(big, scratch / "noise.bin.pgp")
    result = instance.sftp(f"put {sealed} /Incoming/Users/", check=False)
    assert result.returncode != 0 and instance.file_named(sealed.name) is None, result
    disk.grow("64m")
    instance.sftp(f"put {sealed} /Incoming/Users/")
    instance.wait_state(sealed.name, "archived", seconds=60)
    assert instance.inbound("Users", "noise.bin").read_bytes() == big.read_bytes()
