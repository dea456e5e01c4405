"""The clients that partners use, each through a full cycle in /Shared, and an upload to /Incoming that is taken at once.

Small tree always; 500 files and 1 GiB with the tests marked `long`."""
import hashlib
import os
import pathlib
import shlex
import shutil
import subprocess

import paramiko
import pytest


def run(*argv, data=None, timeout=900, check=True):
    done = subprocess.run([str(a) for a in argv], input=data, text=True, capture_output=True, timeout=timeout, check=False)
    assert done.returncode == 0 or not check, f"{shlex.join(str(a) for a in argv)}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def tree(place, files, large):
    """`files` small files in folders, with names that need care, and one of `large` bytes."""
    place.mkdir()
    for number in range(files):
        folder = place / f"folder {number % 5}"
        folder.mkdir(exist_ok=True)
        (folder / f"n° {number}.csv").write_bytes(os.urandom(number * 37 % 5000))
    block = os.urandom(1 << 20)
    with open(place / "large.bin", "wb") as f:
        for at in range(0, large, len(block)):
            f.write(block[:large - at])
            block = block[1:] + block[:1]
    return place


def digests(place):
    return {str(p.relative_to(place)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(place.rglob("*")) if p.is_file()}


def half(path):
    """What an interrupted upload of it had sent."""
    cut = path.parent / "half.bin"
    with open(path, "rb") as whole, open(cut, "wb") as part:
        part.write(whole.read(path.stat().st_size // 2 + 7))
    return cut


class Client:
    """What each client is asked for; all but the constructor work on the folder `far` of /Shared."""

    def __init__(self, instance, scratch):
        self.e = instance.env
        self.instance = instance
        self.scratch = scratch
        self.ssh = ["-F", "/dev/null", "-i", self.e["SFTP_KEY"], "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                    "-o", f"UserKnownHostsFile={self.e['SFTP_HOST_KEYS']}"]


class OpenSsh(Client):
    packages = {"sftp": "openssh-client"}

    def batch(self, *lines):
        return run("sftp", "-q", *self.ssh, "-P", self.e["SFTP_PORT"], "-b", "-", f"{self.e['SFTP_USER']}@{self.e['SFTP_HOST']}",
                   data="\n".join(lines) + "\n")

    def make(self, far):
        self.batch(f"mkdir {far}")

    def upload(self, near, far):
        self.batch(f"put -r {near}/. {far}")

    def put(self, near, far):
        self.batch(f'put "{near}" "{far}"')

    def resume(self, near, far):
        self.batch(f'reput "{near}" "{far}"')

    def rename(self, old, new):
        self.batch(f'rename "{old}" "{new}"')

    def list(self, far):
        return self.batch(f"ls -1 {far}")

    def download(self, far, near):
        near.mkdir()
        self.batch(f"get -r {far}/. {near}")

    def remove(self, far, names, folders):
        self.batch(*[f'rm "{far}/{n}"' for n in names], *[f'rmdir "{far}/{f}"' for f in folders], f"rmdir {far}")


class Psftp(OpenSsh):
    packages = {"psftp": "putty-tools", "puttygen": "putty-tools"}

    def __init__(self, instance, scratch):
        super().__init__(instance, scratch)
        self.ppk = scratch / "key.ppk"
        run("puttygen", self.e["SFTP_KEY"], "-O", "private", "-o", self.ppk)
        scan = run("ssh-keygen", "-l", "-E", "sha256", "-f", self.e["SFTP_HOST_KEYS"])
        self.host_keys = [word for word in scan.split() if word.startswith("SHA256:")]

    def batch(self, *lines):
        script = self.scratch / "psftp.txt"
        script.write_text("\n".join(lines) + "\n")
        keys = [part for key in self.host_keys for part in ("-hostkey", key)]
        return run("psftp", "-batch", *keys, "-i", self.ppk, "-P", self.e["SFTP_PORT"], "-b", script,
                   f"{self.e['SFTP_USER']}@{self.e['SFTP_HOST']}")

    def make(self, far):
        self.batch(f"mkdir {far}")

    def upload(self, near, far):
        self.batch(f"put -r -- {near} {far}")

    def rename(self, old, new):
        self.batch(f'mv "{old}" "{new}"')

    def list(self, far):
        return self.batch(f"ls {far}")

    def download(self, far, near):
        self.batch(f"get -r {far} {near}")

    def remove(self, far, names, folders):
        self.batch(*[f'del "{far}/{n}"' for n in names], *[f'rmdir "{far}/{f}"' for f in folders], f"rmdir {far}")


class Lftp(Client):
    packages = {"lftp": "lftp"}

    def batch(self, *lines):
        program = shlex.join(["ssh", "-a", "-x", *self.ssh])
        script = self.scratch / "lftp.txt"
        script.write_text("\n".join([f"set sftp:connect-program {shlex.quote(program)}", "set cmd:fail-exit yes", "set net:max-retries 1",
                                     f"open -u {self.e['SFTP_USER']}, -p {self.e['SFTP_PORT']} sftp://{self.e['SFTP_HOST']}",
                                     *lines]) + "\n")
        return run("lftp", "--norc", "-f", script)

    def make(self, far):
        self.batch(f"mkdir {far}")

    def upload(self, near, far):
        self.batch(f"mirror -R {near} {far}")

    def put(self, near, far):
        self.batch(f'put "{near}" -o "{far}"')

    def resume(self, near, far):
        self.batch(f'put -c "{near}" -o "{far}"')

    def rename(self, old, new):
        self.batch(f'mv "{old}" "{new}"')

    def list(self, far):
        return self.batch(f"cls -1 {far}")

    def download(self, far, near):
        self.batch(f"mirror {far} {near}")

    def remove(self, far, names, folders):
        self.batch(f"rm -r {far}")


class Paramiko(Client):
    packages = {}

    def __init__(self, instance, scratch):
        super().__init__(instance, scratch)
        self.client = paramiko.SSHClient()
        self.client.load_host_keys(self.e["SFTP_HOST_KEYS"])
        self.client.connect(self.e["SFTP_HOST"], int(self.e["SFTP_PORT"]), self.e["SFTP_USER"], key_filename=self.e["SFTP_KEY"],
                            look_for_keys=False, allow_agent=False)
        self.sftp = self.client.open_sftp()

    def make(self, far):
        self.sftp.mkdir(far)

    def upload(self, near, far):
        for path in sorted(near.rglob("*")):
            there = f"{far}/{path.relative_to(near)}"
            if path.is_dir():
                self.sftp.mkdir(there)
            else:
                self.sftp.put(str(path), there)

    def put(self, near, far):
        self.sftp.put(str(near), far)

    def resume(self, near, far):
        with open(near, "rb") as source, self.sftp.open(far, "a") as target:
            source.seek(self.sftp.stat(far).st_size)
            target.set_pipelined(True)
            shutil.copyfileobj(source, target, 1 << 15)

    def rename(self, old, new):
        self.sftp.rename(old, new)

    def list(self, far):
        return "\n".join(self.sftp.listdir(far))

    def download(self, far, near):
        near.mkdir()
        for entry in self.sftp.listdir_attr(far):
            there, here = f"{far}/{entry.filename}", near / entry.filename
            if entry.longname.startswith("d"):
                self.download(there, here)
            else:
                self.sftp.get(there, str(here))

    def remove(self, far, names, folders):
        for name in names:
            self.sftp.remove(f"{far}/{name}")
        for folder in folders:
            self.sftp.rmdir(f"{far}/{folder}")
        self.sftp.rmdir(far)


CLIENTS = [OpenSsh, Psftp, Lftp, Paramiko]


@pytest.fixture(scope="module")
def shared():
    from conftest import Instance
    made = Instance("--shared", "--option", 'partner.signature="optional"')
    yield made
    made.down()


def client_of(kind, instance, scratch):
    for program, package in kind.packages.items():
        if shutil.which(program) is None:
            pytest.fail(f"{program} is missing: apt-get install {package}, or make deps")
    return kind(instance, scratch)


def cycle(client, scratch, files, large):
    far, near = f"/Shared/{type(client).__name__}", tree(scratch / "near", files, large)
    if not isinstance(client, Psftp):  # which makes the folder that it uploads
        client.make(far)
    client.upload(near, far)
    # An upload that broke off is resumed; a name is changed; a file is replaced by a shorter one.
    part, whole = half(near / "large.bin"), near / "large.bin"
    client.put(part, f"{far}/again.bin")
    part.unlink()
    client.resume(whole, f"{far}/again.bin")
    shutil.copy(whole, near / "renamed.bin")
    client.rename(f"{far}/again.bin", f"{far}/renamed.bin")
    first = next(p for p in sorted(near.rglob("*.csv")) if p.stat().st_size > 100)
    first.write_bytes(b"shorter now")
    client.put(first, f"{far}/{first.relative_to(near)}")
    listing = client.list(far)
    assert "renamed.bin" in listing and "again.bin" not in listing and "folder 0" in listing
    client.download(far, scratch / "back")
    expected = digests(near)
    assert digests(scratch / "back") == expected
    client.remove(far, list(expected), sorted(str(p.relative_to(near)) for p in near.iterdir() if p.is_dir()))
    place = pathlib.Path(client.instance.dir) / "partners" / client.e["SFTP_USER"] / "tree" / "Shared"
    assert not (place / pathlib.Path(far).name).exists()


@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.__name__)
def test_a_full_cycle_in_shared(shared, tmp_path, kind):
    cycle(client_of(kind, shared, tmp_path), tmp_path, 20, 3_000_001)


@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.__name__)
def test_an_upload_that_is_taken_at_once_is_a_success(shared, tmp_path, kind):
    client, name = client_of(kind, shared, tmp_path), f"{kind.__name__}.csv"
    (tmp_path / name).write_text("a,b\n" * 5000)
    client.put(tmp_path / name, f"/Incoming/Invoices/{name}")
    shared.wait_state(name, "archived", seconds=60)
    assert shared.inbound("Invoices", name).read_text() == (tmp_path / name).read_text()


@pytest.mark.long
@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.__name__)
def test_a_full_cycle_with_500_files_and_1_gib(shared, tmp_path, kind):
    cycle(client_of(kind, shared, tmp_path), tmp_path, 500, 1 << 30)
