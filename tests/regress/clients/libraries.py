"""Clients that are libraries of programming languages."""
import asyncio
import json
import os
import pathlib
import re
import shutil
import subprocess
import warnings

import paramiko
import pytest

from clients.base import Client

NODE_CLIENT = "ssh2-sftp-client@12.1.1"
NO_REGISTRY = re.compile(r"npm ERR! (network|request to) |\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ECONNRESET|ENETUNREACH|ERR_SOCKET_TIMEOUT)\b")


class Paramiko(Client):
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

    def close(self):
        self.client.close()


class Asyncssh(Client):
    def __init__(self, instance, scratch):
        super().__init__(instance, scratch)
        with warnings.catch_warnings():  # about ciphers that it imports and nobody uses
            warnings.simplefilter("ignore")
            try:
                import asyncssh
            except ImportError:
                pytest.fail("asyncssh is missing: apt-get install python3-asyncssh, or make deps")
        self.loop = asyncio.new_event_loop()
        self.connection = self.wait(asyncssh.connect(
            self.e["SFTP_HOST"], int(self.e["SFTP_PORT"]), username=self.e["SFTP_USER"], client_keys=[self.e["SFTP_KEY"]],
            known_hosts=self.e["SFTP_HOST_KEYS"], config=None, agent_path=None,
            rekey_bytes=1 << 40))  # as docs/partners/python.md says
        self.sftp = self.wait(self.connection.start_sftp_client())

    def wait(self, what):
        return self.loop.run_until_complete(what)

    def make(self, far):
        self.wait(self.sftp.mkdir(far))

    def upload(self, near, far):
        self.wait(self.sftp.put([str(p) for p in sorted(near.iterdir())], far, recurse=True))

    def put(self, near, far):
        self.wait(self.sftp.put(str(near), far))

    def resume(self, near, far):
        async def append():
            with open(near, "rb") as source:
                source.seek((await self.sftp.stat(far)).size)
                async with self.sftp.open(far, "ab") as target:
                    while piece := source.read(1 << 20):
                        await target.write(piece)
        self.wait(append())

    def rename(self, old, new):
        self.wait(self.sftp.rename(old, new))

    def list(self, far):
        return "\n".join(self.wait(self.sftp.listdir(far)))

    def download(self, far, near):
        self.wait(self.sftp.get(far, str(near), recurse=True))

    def remove(self, far, names, folders):
        self.wait(self.sftp.rmtree(far))

    def close(self):
        async def end():
            self.sftp.exit()
            self.connection.close()
            await self.connection.wait_closed()
        self.wait(end())
        self.loop.close()


def node_modules():
    """The published package, unmodified, kept beside the build so that it is fetched once."""
    place = pathlib.Path(os.environ["SALLYPORT_BUILD"]) / "npm" / NODE_CLIENT
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "package.json").write_text('{"name": "throw-away", "private": true, "type": "module"}\n')
        made = subprocess.run(["npm", "install", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--no-save",
                               "--fetch-retries=0", NODE_CLIENT], cwd=place, text=True, capture_output=True, timeout=300, check=False)
        if made.returncode != 0 and NO_REGISTRY.search(made.stdout + made.stderr):
            pytest.skip(f"the npm registry cannot be reached: {made.stderr[-300:]}")
        assert made.returncode == 0, f"npm install {NODE_CLIENT}: {made.stdout}{made.stderr}"
        (place / "ready").touch()
    shutil.copy(pathlib.Path(__file__).with_name("node_sftp.mjs"), place)
    return place


class NodeSftp(Client):
    """ssh2-sftp-client of npm."""

    packages = {"node": "nodejs", "npm": "npm"}

    def __init__(self, instance, scratch):
        super().__init__(instance, scratch)
        place = node_modules()
        self.process = subprocess.Popen(["node", place / "node_sftp.mjs"], text=True, cwd=place, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env={**os.environ, **self.e})
        self.call("connect")

    def call(self, name, *args):
        self.process.stdin.write(json.dumps({"call": name, "args": [str(a) for a in args]}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "it ended"}')
        assert "error" not in answer, f"ssh2-sftp-client: {name} {args}: {answer['error']}"
        return answer["result"]

    def make(self, far):
        self.call("mkdir", far)

    def upload(self, near, far):
        self.call("uploadDir", near, far)

    def put(self, near, far):
        self.call("fastPut", near, far)

    def resume(self, near, far):
        self.call("resume", near, far)

    def rename(self, old, new):
        self.call("rename", old, new)

    def list(self, far):
        return "\n".join(self.call("list", far))

    def download(self, far, near):
        self.call("downloadDir", far, near)

    def remove(self, far, names, folders):
        self.call("rmdir", far)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0
