"""What every client is asked for, and the trees of files that they carry."""
import hashlib
import os
import shlex
import shutil
import subprocess

import pytest


def run(*argv, data=None, timeout=900, check=True, env=None):
    done = subprocess.run([str(a) for a in argv], input=data, text=True, capture_output=True, timeout=timeout, check=False,
                          env={**os.environ, **env} if env else None)
    assert done.returncode == 0 or not check, f"{shlex.join(str(a) for a in argv)}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
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


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(place):
    return {str(p.relative_to(place)): digest(p) for p in sorted(place.rglob("*")) if p.is_file()}


def half(path):
    """What an interrupted upload of it had sent."""
    cut = path.parent / "half.bin"
    left = path.stat().st_size // 2 + 7
    with open(path, "rb") as whole, open(cut, "wb") as part:
        while left > 0:
            left -= part.write(whole.read(min(left, 1 << 20)))
    return cut


def drop(*places):
    """What the long cycles leave is measured in GiB, and pytest keeps its directories."""
    for place in places:
        shutil.rmtree(place, ignore_errors=True)


class Client:
    """One client, logged in as the partner of an instance. Paths of the far side are text from the root.

    upload() and download() carry the contents of a folder; remove() is told every file and folder in it, for clients that
    cannot remove a folder by themselves. check() is what a client can do more than the others to a folder that it has
    uploaded."""

    packages = {}  # program: the Debian package that it is in
    resumes = True  # goes on with a file that is there in part, instead of sending it again
    makes_the_folder = False  # of an upload by itself, and will not have it there before

    def __init__(self, instance, scratch):
        self.e = instance.env
        self.instance = instance
        self.scratch = scratch
        self.at = f"{self.e['SFTP_USER']}@{self.e['SFTP_HOST']}"
        self.ssh = ["-F", "/dev/null", "-i", self.e["SFTP_KEY"], "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                    "-o", f"UserKnownHostsFile={self.e['SFTP_HOST_KEYS']}"]

    def make(self, far):
        raise NotImplementedError

    def upload(self, near, far):
        raise NotImplementedError

    def put(self, near, far):
        raise NotImplementedError

    def resume(self, near, far):
        raise NotImplementedError

    def rename(self, old, new):
        raise NotImplementedError

    def list(self, far):
        raise NotImplementedError

    def download(self, far, near):
        raise NotImplementedError

    def remove(self, far, names, folders):
        raise NotImplementedError

    def check(self, near, far):
        pass

    def close(self):
        pass


def usable(kind, instance, scratch):
    """A client of this kind. A missing program is a failure: make deps installs all of them."""
    for program, package in kind.packages.items():
        if shutil.which(program) is None:
            pytest.fail(f"{program} is missing: apt-get install {package}, or make deps")
    return kind(instance, scratch)
