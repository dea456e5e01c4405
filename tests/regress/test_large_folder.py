"""A folder of 100,000 files: every client lists all of it, and the session that serves them holds no list."""
import os
import pathlib

import pytest

from clients import Lftp, OpenSsh, Paramiko, Rclone, usable
from conftest import Instance

pytestmark = pytest.mark.long

FILES = 100_000


@pytest.fixture(scope="module")
def gate():
    made = Instance("--shared")
    many = made.dir / "partners" / "acme" / "tree" / "Shared" / "many"
    many.mkdir()
    for number in range(FILES):
        os.close(os.open(many / f"a file with a name of some length {number:06}.csv", os.O_CREAT | os.O_WRONLY, 0o660))
    (many.parent / "few").mkdir()
    (many.parent / "few" / "one.csv").touch()
    yield made
    made.down()


@pytest.mark.parametrize("kind", [OpenSsh, Lftp, Rclone], ids=lambda kind: kind.__name__)
def test_every_name_is_listed_once(gate, tmp_path, kind):
    lines = usable(kind, gate, tmp_path).list("/Shared/many").splitlines()
    names = sorted(line.rsplit("/", 1)[-1] for line in lines if line.endswith(".csv"))
    assert names == [f"a file with a name of some length {number:06}.csv" for number in range(FILES)]


def kib(pid, field):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(f"{field}:")).split()[1])


def test_a_session_holds_no_list(gate, tmp_path):
    """The names alone are 5 MB, and 20 as they are sent: the session's memory may grow by what waits to be sent."""
    client = usable(Paramiko, gate, tmp_path)
    assert client.sftp.listdir("/Shared/few") == ["one.csv"]
    front = gate.env["SALLYPORT_SFTP_PID"]
    session = pathlib.Path(f"/proc/{front}/task/{front}/children").read_text().split()[-1]
    before = kib(session, "VmHWM")
    assert len(client.sftp.listdir_attr("/Shared/many")) == FILES
    grown = kib(session, "VmHWM") - before
    print(f"listing {FILES} files: {before} KiB before, grown by {grown} KiB")
    assert grown < 2048, f"{before} KiB before, grown by {grown} KiB"
    # Many requests sent ahead, as some clients do, are answered no faster than the client takes the answers.
    handle = client.sftp._request(11, "/Shared/many")[1].get_binary()  # 11 is SSH_FXP_OPENDIR
    for _ in range(2000):
        client.sftp._async_request(type(None), 12, handle)
    assert client.sftp.stat("/Shared/few/one.csv").st_size == 0
    grown = kib(session, "VmHWM") - before
    print(f"2000 requests at once: grown by {grown} KiB")
    assert grown < 4096, f"{before} KiB before, grown by {grown} KiB"
    client.close()
