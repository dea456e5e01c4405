"""Sallyport's SFTP front, OpenSSH's internal-sftp and ProFTPD's mod_sftp, started for a benchmark in a folder of its own, with one
partner (or more) and one key that all of them let in; and what a client of theirs takes: wall time, and CPU of both sides."""
import contextlib
import json
import os
import pathlib
import pwd
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from free_port import free_port  # noqa: E402

INSTANCE = HERE.parent / "instance"
# For ciphers that do not authenticate by themselves; OpenSSH would take one of its own with its own kind.
MACS = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com"
CLOCK = os.sysconf("SC_CLK_TCK")
ME = pwd.getpwuid(os.geteuid()).pw_name


def run(*argv, **more):
    done = subprocess.run([str(a) for a in argv], check=False, **{"text": True, "stdout": subprocess.PIPE,
                                                                 "stderr": subprocess.STDOUT, **more})
    if done.returncode != 0:
        sys.exit(f"{shlex.join(str(a) for a in argv)} failed:\n{done.stdout}")
    return done.stdout


def children(pid):
    with contextlib.suppress(OSError):
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def descendants(pid):
    return [p for child in children(pid) for p in (child, *descendants(child))]


def tree_cpu(pid):
    """CPU seconds of a process, its children that have ended, and those that live."""
    total = 0.0
    with contextlib.suppress(OSError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total = sum(int(fields[i]) for i in (11, 12, 13, 14)) / CLOCK
    return total + sum(tree_cpu(child) for child in children(pid))


def clients_cpu():
    """CPU seconds of the clients that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def pss(pid):
    """KiB of memory, with its share of what is shared."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


class Server:
    """Something to log in to: where, as whom, which processes are its, and where in it files go."""

    def __init__(self, name, port, users, key, pids, shared, incoming=None):
        self.name, self.port, self.users, self.key, self.pids = name, port, users, key, pids
        self.shared, self.incoming = shared, incoming or shared

    def options(self, cipher):
        return ["-q", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", f"IdentityFile={self.key}", "-o", "IdentitiesOnly=yes", "-o", f"Ciphers={cipher}", "-o", f"MACs={MACS}", "-o", "BatchMode=yes"]

    def cpu(self):
        return sum(tree_cpu(pid) for pid in self.pids)

    def settle(self, what):
        """Waits until sessions that have ended are reaped, so that their CPU is counted."""
        end = time.monotonic() + 10
        while set(descendants(self.pids[0])) - what and time.monotonic() < end:
            time.sleep(0.005)

    def timed(self, argv, batch, times=1):
        """(wall, CPU of the server, CPU of the client)"""
        idle, cpu, client, start = set(descendants(self.pids[0])), self.cpu(), clients_cpu(), time.monotonic()
        for _ in range(times):
            done = subprocess.run(argv, input=batch, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=600)
            if done.returncode != 0:
                sys.exit(f"{self.name}: {argv[0]} failed: {done.stderr.strip()}")
        wall, client = time.monotonic() - start, clients_cpu() - client
        self.settle(idle)
        return wall, self.cpu() - cpu, client

    def sftp(self, batch, cipher, port=None, times=1):
        return self.timed(["sftp", *self.options(cipher), "-P", str(port or self.port), "-b", "-", f"{self.users[0]}@127.0.0.1"],
                          batch, times)


def wait_for_port(port, process):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    sys.exit(f"{process.args[0]} did not start")


class Servers:
    def __init__(self, build, work, partners=1):
        self.build, self.work, self.partners, self.started, self.instance = build, work, partners, [], None

    def all(self):
        ours = self.start_ours()
        theirs = self.start_openssh(ours.key)
        third = self.start_proftpd(ours.key)
        return [theirs, ours] + ([third] if third else [])

    def start_ours(self):
        self.instance = self.work / "i"
        options = ["gateway.max_connections=5000", "gateway.max_unauthenticated_per_address=5000", "partner.connections=5000",
                   'partner.signature="optional"', 'log.level="notice"', 'gateway.never_ban=["127.0.0.0/8"]',
                   "partner.idle=\"1h\""]
        run(INSTANCE, "up", self.instance, "--shared", "--build", self.build, *[x for o in options for x in ("--option", o)])
        env = self.env()
        users = [env["SFTP_USER"]]
        for number in range(2, self.partners + 1):
            users.append(f"partner{number}")
            self.ctl("partner", "create", users[-1], "--email", f"files@{users[-1]}.example.com")
            self.ctl("partner", "ssh-key", "add", users[-1], env["SFTP_KEY"] + ".pub")
        return Server("ours", int(env["SFTP_PORT"]), users, env["SFTP_KEY"],
                      [int(env["SALLYPORT_SFTP_PID"]), int(env["SALLYPORTD_PID"])], "/Shared", "/Incoming/Invoices")

    def env(self):
        pairs = (line.partition("=") for line in (self.instance / "env").read_text().splitlines())
        return {name: "".join(shlex.split(value)) for name, _, value in pairs}

    def ctl(self, *args):
        return run(INSTANCE, "ctl", self.instance, *args)

    def files_in(self, state):
        answer = json.loads(self.ctl("--json", "files", "list", "--state", state, "--limit", "1"))
        return answer["items"] if isinstance(answer, dict) else answer

    def wait_until_archived(self):
        """The pipeline must not work while somebody else is measured; what it made is removed."""
        end = time.monotonic() + 600
        while time.monotonic() < end:
            # A file is in the spool from before its OK until it is archived; its row may be a moment behind.
            if not any(any(spool.iterdir()) for spool in (self.instance / "partners").glob("*/spool")):
                break
            time.sleep(0.1)
        for place in (self.instance / "inbound", *(self.instance / "partners").glob("*/tree/Archive")):
            for path in place.rglob("*"):
                if path.is_file():
                    path.unlink()

    def empty_shared(self, server):
        """Removes what was put there, on the server's own side."""
        folder = pathlib.Path(server.shared)
        if server.name == "ours":
            folder = self.instance / "partners" / server.users[0] / "tree" / "Shared"
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def start_openssh(self, key):
        if not os.path.exists("/usr/sbin/sshd"):
            sys.exit("OpenSSH's server is needed: apt-get install openssh-server")
        home = self.work / "openssh"
        (home / "files").mkdir(parents=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "host")
        (home / "authorized").write_text(pathlib.Path(f"{key}.pub").read_text())
        port = free_port()
        (home / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized\nPidFile none\n"
            "Subsystem sftp internal-sftp\nPermitRootLogin yes\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "MaxStartups 5000:100:5000\nLogLevel ERROR\n")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", home / "config", "-E", home / "log"],
                                   start_new_session=True)  # as the instance: schedulers group by session
        self.started.append(process)
        wait_for_port(port, process)
        return Server("openssh", port, [ME], key, [process.pid], str(home / "files"))

    def start_proftpd(self, key):
        if os.geteuid() != 0 or not os.path.exists("/usr/lib/proftpd/mod_sftp.so"):
            print("(ProFTPD is left out: it needs root and the packages proftpd-core and proftpd-mod-crypto)")
            return None
        home = self.work / "proftpd"
        (home / "files").mkdir(parents=True)
        run("ssh-keygen", "-q", "-m", "PEM", "-t", "rsa", "-b", "3072", "-N", "", "-f", home / "host")
        (home / "authorized").write_text(run("ssh-keygen", "-e", "-f", f"{key}.pub"))
        port = free_port()
        (home / "config").write_text(
            f"ServerType standalone\nDefaultServer on\nPort {port}\nDefaultAddress 127.0.0.1\nUseIPv6 off\nUser root\n"
            f"Group root\nPidFile {home}/pid\nScoreboardFile {home}/scoreboard\nDelayTable none\nSystemLog {home}/log\n"
            "TransferLog none\nWtmpLog off\nMaxInstances 5000\nRequireValidShell off\nRootLogin on\nUseFtpUsers off\n"
            f"AuthOrder mod_auth_unix.c\nAllowOverwrite on\n"
            "LoadModule mod_sftp.c\nModulePath /usr/lib/proftpd\nSFTPEngine on\nSFTPLog none\n"
            f"SFTPHostKey {home}/host\nSFTPAuthorizedUserKeys file:{home}/authorized\nSFTPAuthMethods publickey\n")
        process = subprocess.Popen(["/usr/sbin/proftpd", "-n", "-q", "-c", home / "config"], stdout=subprocess.DEVNULL,
                                   stderr=open(home / "stderr", "wb"), start_new_session=True)
        self.started.append(process)
        wait_for_port(port, process)
        return Server("proftpd", port, [ME], key, [process.pid], str(home / "files"))

    def stop(self):
        for process in self.started:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        if self.instance:
            subprocess.run([INSTANCE, "down", self.instance, "--remove"], check=False)
