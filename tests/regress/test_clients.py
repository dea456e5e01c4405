"""The clients that partners use, each through a full cycle in /Shared, and an upload to /Incoming that is taken at once.

A small tree always; 500 files and 1 GiB with the tests marked `long`."""
import pathlib
import shutil
import socket
import sqlite3
import statistics
import time

import paramiko
import pytest

from clients import CLIENTS, NodeSftp, digests, drop, half, tree, usable
from conftest import Instance, wait_for


@pytest.fixture(scope="module")
def shared():
    made = Instance("--shared", "--option", 'partner.signature="optional"')
    yield made
    made.down()


@pytest.fixture
def client(request, shared, tmp_path):
    made = usable(request.param, shared, tmp_path)
    yield made
    made.close()


def transport(instance):
    made = paramiko.Transport((instance.env["SFTP_HOST"], int(instance.env["SFTP_PORT"])))
    made.connect(username=instance.env["SFTP_USER"], pkey=paramiko.RSAKey.from_private_key_file(instance.env["SFTP_KEY"]))
    return made


every_client = pytest.mark.parametrize("client", CLIENTS, indirect=True, ids=lambda kind: kind.__name__)


def written(instance, path):
    """How many bytes each upload of `path` sent, as the gateway recorded it."""
    with sqlite3.connect(f"file:{instance.dir}/sallyport.db?mode=ro", uri=True) as store:
        return [row[0] for row in store.execute(
            "SELECT bytes FROM session_event WHERE event_name = 'upload' AND path = ? ORDER BY event_number", (path,))]


def cycle(client, scratch, files, large):
    far, near = f"/Shared/{type(client).__name__}", tree(scratch / "near", files, large)
    if not client.makes_the_folder:
        client.make(far)
    try:
        client.upload(near, far)
        client.check(near, far)
    except Exception as error:
        raise AssertionError(f"{error!r}\n{client.instance.logs()}") from error
    client.make(f"{far}/empty folder")
    (near / "empty folder").mkdir()

    # An upload that broke off is resumed: only the rest of it is sent.
    part, whole = half(near / "large.bin"), near / "large.bin"
    client.put(part, f"{far}/again.bin")
    sent = part.stat().st_size
    part.unlink()
    client.resume(whole, f"{far}/again.bin")
    wait_for("both uploads are recorded", lambda: len(written(client.instance, f"{far}/again.bin")) == 2)
    assert written(client.instance, f"{far}/again.bin") == [sent, large - sent if client.resumes else large]

    # A name is changed; a file is replaced by a shorter one.
    shutil.copy(whole, near / "renamed.bin")
    client.rename(f"{far}/again.bin", f"{far}/renamed.bin")
    first = next(p for p in sorted(near.rglob("*.csv")) if p.stat().st_size > 100)
    first.write_bytes(b"shorter now")
    client.put(first, f"{far}/{first.relative_to(near)}")

    listing = client.list(far)
    assert "renamed.bin" in listing and "again.bin" not in listing and "folder 0" in listing and "empty folder" in listing
    client.download(far, scratch / "back")
    expected = digests(near)
    assert digests(scratch / "back") == expected
    client.remove(far, list(expected), sorted(str(p.relative_to(near)) for p in near.iterdir() if p.is_dir()))
    place = pathlib.Path(client.instance.dir) / "partners" / client.e["SFTP_USER"] / "tree" / "Shared"
    assert not (place / pathlib.Path(far).name).exists()
    drop(near, scratch / "back")


@every_client
def test_a_full_cycle_in_shared(client, tmp_path):
    cycle(client, tmp_path, 12, (2 << 20) + 1)


@every_client
def test_an_upload_that_is_taken_at_once_is_a_success(client, shared, tmp_path):
    name = f"{type(client).__name__}.csv"
    (tmp_path / name).write_text("a,b\n" * 5000)
    client.put(tmp_path / name, f"/Incoming/Invoices/{name}")
    shared.wait_state(name, "archived", seconds=60)
    assert shared.inbound("Invoices", name).read_text() == (tmp_path / name).read_text()


@every_client
def test_an_upload_that_broke_off_is_resumed_and_then_taken(client, shared, tmp_path):
    """The connection is gone in mid-file: the part is there under its name, and is never taken by itself."""
    if not client.resumes:
        pytest.skip("it cannot resume: it sends the file again")
    name = f"broken-{type(client).__name__}.csv"
    near, far = tmp_path / name, f"/Incoming/Invoices/{name}"
    near.write_text("a,b\n" * 50_000)
    broken = transport(shared)
    file = paramiko.SFTPClient.from_transport(broken).open(far, "w")
    file.write(near.read_bytes()[:70_001])
    file.flush()
    broken.sock.shutdown(socket.SHUT_RDWR)  # no CLOSE, no goodbye
    looking = transport(shared)
    wait_for("the part is shown", lambda: name in paramiko.SFTPClient.from_transport(looking).listdir("/Incoming/Invoices"))
    looking.close()
    assert not shared.inbound("Invoices", name).exists()
    client.resume(near, far)
    shared.wait_state(name, "archived", seconds=60)
    assert shared.inbound("Invoices", name).read_bytes() == near.read_bytes()


@pytest.mark.parametrize("client", [NodeSftp], indirect=True, ids=lambda kind: kind.__name__)
def test_a_client_that_sends_packets_in_pieces_does_not_wait_for_us_to_acknowledge_them(client):
    """Its system sends the second piece when we have acknowledged the first, which systems put off by 40 ms."""
    took = []
    for number in range(31):
        start = time.monotonic()
        client.make(f"/Shared/piece {number}")  # two requests
        took.append(time.monotonic() - start)
    client.remove("/Shared/piece 0", [], [])
    assert statistics.median(took) < 0.04, sorted(took)


@pytest.mark.long
@every_client
def test_a_full_cycle_with_500_files_and_1_gib(client, tmp_path):
    cycle(client, tmp_path, 500, 1 << 30)
