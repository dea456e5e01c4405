"""Clients that are programs."""
import pathlib
import re
import shlex
import subprocess
import urllib.parse

import pytest

from clients.base import Client, run


class OpenSsh(Client):
    packages = {"sftp": "openssh-client"}

    def batch(self, *lines):
        return run("sftp", "-q", *self.ssh, "-P", self.e["SFTP_PORT"], "-b", "-", self.at, data="\n".join(lines) + "\n")

    def make(self, far):
        self.batch(f'mkdir "{far}"')

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
    makes_the_folder = True

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
        return run("psftp", "-batch", *keys, "-i", self.ppk, "-P", self.e["SFTP_PORT"], "-b", script, self.at)

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
        self.batch(f'mkdir "{far}"')

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

    def check(self, near, far):
        """A mirror of what is there already has nothing to do; what is gone here goes there."""
        assert not re.search(r"^put ", self.batch(f"mirror -R --dry-run {near} {far}"), re.M)
        extra = near / "folder 0" / "extra"
        extra.write_text("one more")
        self.batch(f"mirror -R --delete {near} {far}")
        extra.unlink()
        assert "extra" in self.batch(f'cls -1 "{far}/folder 0"')
        self.batch(f"mirror -R --delete {near} {far}")
        assert "extra" not in self.batch(f'cls -1 "{far}/folder 0"')


class Rclone(Client):
    packages = {"rclone": "rclone"}
    resumes = False  # it sends a file whole or not at all

    def __init__(self, instance, scratch):
        super().__init__(instance, scratch)
        self.config = scratch / "rclone.conf"
        self.rclone("config", "create", "gateway", "sftp", f"host={self.e['SFTP_HOST']}", f"port={self.e['SFTP_PORT']}",
                    f"user={self.e['SFTP_USER']}", f"key_file={self.e['SFTP_KEY']}", f"known_hosts_file={self.e['SFTP_HOST_KEYS']}",
                    "shell_type=none", "md5sum_command=none", "sha1sum_command=none")

    def rclone(self, *args):
        # As docs/partners/rclone.md says: each of them has a connection, and 10 are allowed.
        return run("rclone", "--config", self.config, "--checkers", "4", "--transfers", "4", *args)

    def make(self, far):
        self.rclone("mkdir", f"gateway:{far}")

    def upload(self, near, far):
        self.rclone("copy", near, f"gateway:{far}")

    def put(self, near, far):
        self.rclone("copyto", near, f"gateway:{far}")

    resume = put

    def rename(self, old, new):
        self.rclone("moveto", f"gateway:{old}", f"gateway:{new}")

    def list(self, far):
        return self.rclone("lsf", f"gateway:{far}")

    def download(self, far, near):
        self.rclone("copy", f"gateway:{far}", near)

    def remove(self, far, names, folders):
        self.rclone("purge", f"gateway:{far}")

    def check(self, near, far):
        self.rclone("check", "--download", near, f"gateway:{far}")
        extra = near / "folder 0" / "extra"
        extra.write_text("one more")
        self.rclone("sync", near, f"gateway:{far}")
        self.rclone("check", "--download", near, f"gateway:{far}")
        extra.unlink()
        self.rclone("sync", near, f"gateway:{far}")
        self.rclone("check", "--download", near, f"gateway:{far}")


class Sshfs(Client):
    packages = {"sshfs": "sshfs", "fusermount3": "fuse3"}

    def __init__(self, instance, scratch):
        super().__init__(instance, scratch)
        try:
            with open("/dev/fuse", "rb"):
                pass
        except OSError as error:
            pytest.skip(f"file systems in user space cannot be mounted here: {error}")
        self.mount = scratch / "mount"
        self.mount.mkdir()
        ssh = [f"IdentityFile={part}" if option == "-i" else part
               for option, part in zip(self.ssh[::2], self.ssh[1::2]) if option != "-F"]
        run("sshfs", "-F", "/dev/null", *[part for option in ssh for part in ("-o", option)], "-p", self.e["SFTP_PORT"],
            f"{self.at}:/", self.mount)

    def local(self, far):
        return self.mount / far.lstrip("/")

    def make(self, far):
        self.local(far).mkdir()

    def upload(self, near, far):
        run("cp", "-r", f"{near}/.", self.local(far))

    def put(self, near, far):
        run("cp", near, self.local(far))

    def resume(self, near, far):
        there = self.local(far)
        run("sh", "-c", 'tail -c "+$1" "$2" >>"$3"', "sh", there.stat().st_size + 1, near, there)

    def rename(self, old, new):
        run("mv", self.local(old), self.local(new))

    def list(self, far):
        return run("ls", "-l", self.local(far))

    def download(self, far, near):
        run("cp", "-r", self.local(far), near)

    def remove(self, far, names, folders):
        run("rm", "-r", self.local(far))

    def check(self, near, far):
        run("diff", "-r", near, self.local(far))

    def close(self):
        run("fusermount3", "-u", self.mount)


class Curl(Client):
    packages = {"curl": "curl"}

    @staticmethod
    def is_modern():
        """With libssh, or with libssh2 from 1.11 on; before, it knows no MAC with encrypt-then-MAC (docs/partners/curl.md)."""
        version = run("curl", "-V")
        libssh2 = re.search(r"libssh2/(\d+)\.(\d+)", version)
        return "libssh/" in version or bool(libssh2 and (int(libssh2[1]), int(libssh2[2])) >= (1, 11))

    def __init__(self, instance, scratch):
        super().__init__(instance, scratch)
        if not self.is_modern():
            pytest.skip("this curl cannot agree on a cipher with a modern server; docs/partners/curl.md says which can")
        self.key = scratch / "id_ed25519"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "curl", "-f", self.key)
        instance.ctl("partner", "ssh-key", "add", self.e["SFTP_USER"], f"{self.key}.pub", "--label", "curl")
        lines = pathlib.Path(self.e["SFTP_HOST_KEYS"]).read_text().splitlines()
        self.pin = next(word[len("SHA256:"):] for line in lines if "ssh-ed25519" in line
                        for word in run("ssh-keygen", "-l", "-f", "-", data=line + "\n").split() if word.startswith("SHA256:"))

    def close(self):
        fingerprint = next(w for w in run("ssh-keygen", "-l", "-f", self.key).split() if w.startswith("SHA256:"))
        self.instance.ctl("partner", "ssh-key", "remove", self.e["SFTP_USER"], fingerprint)

    def url(self, far):
        return f"sftp://{self.e['SFTP_HOST']}:{self.e['SFTP_PORT']}{urllib.parse.quote(far)}"

    def curl(self, *transfers):
        """Each transfer is a list of options; all go over one connection."""
        common = ["--silent", "--show-error", "--fail-early", "--key", str(self.key), "--pubkey", f"{self.key}.pub", "-u",
                  f"{self.e['SFTP_USER']}:", "--hostpubsha256", self.pin]
        argv = ["curl"]
        for transfer in transfers:
            argv += (["--next"] if len(argv) > 1 else []) + common + [str(part) for part in transfer]
        done = subprocess.run(argv, text=True, capture_output=True, timeout=900, check=False)
        assert done.returncode == 0, f"{shlex.join(argv)[:2000]}: {done.stdout}{done.stderr}"
        return done.stdout

    def commands(self, *lines):
        for at in range(0, len(lines), 200):  # a listing is what carries them
            quotes = [part for line in lines[at:at + 200] for part in ("-Q", line)]
            self.curl([*quotes, "--list-only", "-o", "/dev/null", self.url("/Shared/")])

    def make(self, far):
        self.commands(f'mkdir "{far}"')

    def upload(self, near, far):
        folders = [p.relative_to(near) for p in sorted(near.rglob("*")) if p.is_dir()]
        if folders:
            self.commands(*[f'mkdir "{far}/{folder}"' for folder in folders])
        files = [p for p in sorted(near.rglob("*")) if p.is_file()]
        for at in range(0, len(files), 100):
            self.curl(*[["-T", p, self.url(f"{far}/{p.relative_to(near)}")] for p in files[at:at + 100]])

    def put(self, near, far):
        self.curl(["-T", near, self.url(far)])

    def resume(self, near, far):
        self.curl(["-C", "-", "-T", near, self.url(far)])

    def rename(self, old, new):
        self.commands(f'rename "{old}" "{new}"')

    def list(self, far):
        return self.curl([self.url(far + "/")])

    def download(self, far, near):
        names, folders = [], [""]
        while folders:
            folder = folders.pop()
            for line in self.curl([self.url(f"{far}/{folder}")]).splitlines():
                name = line.split(maxsplit=8)[8]
                if line.startswith("d"):
                    folders += [f"{folder}{name}/"] if name not in (".", "..") else []
                else:
                    names.append(folder + name)
        for at in range(0, len(names), 100):
            self.curl(*[["--create-dirs", "-o", near / n, self.url(f"{far}/{n}")] for n in names[at:at + 100]])

    def remove(self, far, names, folders):
        self.commands(*[f'rm "{far}/{n}"' for n in names], *[f'rmdir "{far}/{f}"' for f in folders], f'rmdir "{far}"')
