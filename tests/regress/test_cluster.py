"""Two daemons that share one MariaDB, or two nodes of a Galera cluster: a change is in force on both, and either may die."""
import concurrent.futures
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

import paramiko
import pytest

from conftest import TESTS, free_port, wait_for
from keys_api import UnixConnection
from ssh_wire import Gone, Wire

DAY = 86400


class MariaDb:
    """One server for both; the instance brings it along."""
    options = ["--store", "mariadb"]
    other_socket = None  # the same for both

    def sql(self, instance, text):
        return subprocess.run([TESTS / "mariadb", "sql", instance.dir / "run" / "mariadb", text], check=True, text=True, capture_output=True).stdout

    def down(self):
        pass


class Galera:
    """A server for each."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ga-"))
        try:
            done = subprocess.run([TESTS / "galera", "up", self.dir], text=True, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
            env = dict(line.split("=", 1) for line in (self.dir / "env").read_text().splitlines())
            env = {name: "".join(shlex.split(value)) for name, value in env.items()}
            password = self.dir / "password"
            password.write_text(env["GALERA_PASSWORD"] + "\n")
            password.chmod(0o600)
        except BaseException:
            self.down()
            raise
        self.other_socket = env["GALERA_SOCKET_2"]
        settings = {"driver": "mysql", "unix_socket": env["GALERA_SOCKET_1"], "user": env["GALERA_USER"], "password_file": str(password),
                    "database": env["GALERA_DATABASE"]}
        self.options = [word for name, value in settings.items() for word in ("--option", f"store.{name}={json.dumps(value)}")]

    def sql(self, _instance, text, node=1):
        return subprocess.run([TESTS / "galera", "sql", self.dir, str(node), text], check=True, text=True, capture_output=True).stdout

    def down(self):
        subprocess.run([TESTS / "galera", "down", self.dir], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


class Node:
    """Another daemon beside the instance's own: same store, clock and mail server; sockets of its own."""

    def __init__(self, instance, name, store):
        self.instance, self.name, self.store = instance, name, store
        self.run = instance.dir / name
        self.run.mkdir(mode=0o700)
        self.process = None
        self.port = free_port()
        text = (instance.dir / "sallyport.toml").read_text()
        for option, value in (("node", f'"{name}"'), ("admin_socket", f'"{self.run}/admin.sock"'), ("verify_socket", f'"{self.run}/verify.sock"'),
                              ("listen", f'"127.0.0.1:{self.port}"'), ("home", f'"{self.run}/gnupg"'), ("broker_socket", f'"{self.run}/broker.sock"')):
            text, count = re.subn(rf"(?m)^{option} = .*$", f"{option} = {value}", text)
            assert count == 1, option
        if store.other_socket:
            text = re.sub(r"(?m)^unix_socket = .*$", f'unix_socket = "{store.other_socket}"', text)
        self.config = self.run / "sallyport.toml"
        self.config.write_text(text.replace("[gateway]\n", "[gateway]\nenabled = false\n"))
        self.start()

    def start(self):
        build = pathlib.Path(os.environ["SALLYPORT_BUILD"])
        log = open(self.instance.dir / "log" / f"{self.name}.log", "ab")
        self.process = subprocess.Popen([build / "daemon" / "sallyportd", "--config", self.config, "--test-clock"], stdout=log, stderr=log,
                                        cwd=self.run)
        wait_for(f"{self.name} answers or ends", lambda: self.process.poll() is not None or self.status() is not None, 60)
        assert self.process.poll() is None, f"{self.name} ended ({self.process.returncode})\n{self.instance.logs()}"

    def request(self, which, method, path, headers=(), body=None):
        connection = UnixConnection(self.run / which)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def status(self):
        try:
            return json.loads(self.request("admin.sock", "GET", "/admin/status")[1])
        except OSError:
            return None

    def verify(self, value):
        return self.request("verify.sock", "GET", "/verify", {"X-API-Key": value})[0]

    def ctl(self, *args):
        program = self.instance.env["SALLYPORTCTL"]
        return subprocess.run([program, "--socket", self.run / "admin.sock", *args], text=True, capture_output=True, check=True).stdout

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)


class First(Node):
    """The instance's own daemon, seen in the same way."""

    def __init__(self, instance, store):
        self.instance, self.name, self.store = instance, "test", store
        self.run = instance.dir / "run"

    def start(self):
        self.instance.restart()

    def end(self, how=signal.SIGTERM):
        self.instance.command("kill" if how == signal.SIGKILL else "stop", "daemon")


@pytest.fixture(params=["mariadb", pytest.param("galera", marks=pytest.mark.long)])
def store(request):
    made = MariaDb() if request.param == "mariadb" else Galera()
    yield made
    made.down()


@pytest.fixture
def nodes(store, make_instance):
    instance = make_instance(*store.options, "--option", "store.shared=true")
    second = Node(instance, "other", store)
    yield First(instance, store), second
    second.end(signal.SIGKILL)
    instance.stop()  # before its store goes


def leader_of(nodes):
    def one():
        leading = [node for node in nodes if (node.status() or {}).get("leading")]
        return leading if len(leading) == 1 else None
    return wait_for("one node leads", one, 40)[0]


def seconds_until(ready, limit=10):
    start = time.monotonic()
    while not ready():
        assert time.monotonic() - start < limit, "it never came"
    return time.monotonic() - start


def test_a_change_on_one_node_is_in_force_on_the_other_within_a_second(nodes):
    first, second = nodes
    instance = first.instance
    for _ in range(3):
        key = instance.json("key", "create", "shared", "--template", "ANONYMOUS_SEARCH")
        assert seconds_until(lambda: second.verify(key["value"]) == 200) < 1
        instance.ctl("key", "revoke", key["id"], "--yes")
        assert first.verify(key["value"]) == 401
        assert seconds_until(lambda: second.verify(key["value"]) == 401) < 1
    key = json.loads(second.ctl("--json", "key", "create", "from the other", "--template", "ANONYMOUS_SEARCH"))
    assert second.verify(key["value"]) == 200
    assert seconds_until(lambda: first.verify(key["value"]) == 200) < 1
    second.ctl("key", "delete", key["id"], "--yes")
    assert seconds_until(lambda: first.verify(key["value"]) == 401) < 1


def test_a_suspension_and_a_ban_on_one_node_hold_on_the_other(nodes):
    first, second = nodes
    instance = first.instance
    sftp = Wire(instance).login().sftp()
    sftp.put("/Incoming/Invoices/before.txt", b"content")
    start = time.monotonic()
    second.ctl("partner", "suspend", "acme")
    assert "suspended" in sftp.wire.ended(5)
    assert time.monotonic() - start < 5
    second.ctl("partner", "resume", "acme")
    Wire(instance).login().close()
    second.ctl("ban", "add", "127.0.0.9")
    assert seconds_until(lambda: refused_at_the_door(instance, "127.0.0.9")) < 5
    second.ctl("ban", "lift", "127.0.0.9")
    assert seconds_until(lambda: not refused_at_the_door(instance, "127.0.0.9")) < 5


def refused_at_the_door(instance, source):
    try:
        Wire(instance, source=source).login().close()
    except (AssertionError, EOFError, OSError, Gone, paramiko.SSHException):
        return True
    return False


def test_a_use_on_either_node_counts(nodes):
    first, second = nodes
    key = first.instance.json("key", "create", "used", "--template", "ANONYMOUS_SEARCH")
    seconds_until(lambda: second.verify(key["value"]) == 200)
    used = wait_for("the use is known to the first node", lambda: first.instance.json("key", "show", key["id"]).get("lastUsedDate"), 20)
    assert abs(used / 1000 - time.time()) < 30


def test_without_the_store_a_node_denies_after_its_time(make_instance):
    instance = make_instance("--store", "mariadb", "--option", "store.shared=true", "--option", 'verify.max_staleness="5s"')
    key = instance.json("key", "create", "steady", "--template", "ANONYMOUS_SEARCH")
    assert instance.verify(key["value"]) == 200
    mariadb = TESTS / "mariadb"
    subprocess.run([mariadb, "kill", instance.dir / "run" / "mariadb"], check=True)
    assert instance.verify(key["value"]) == 200, "it goes on with what it knows"
    wait_for("it denies", lambda: instance.verify(key["value"]) == 401, 20)
    subprocess.run([mariadb, "start", instance.dir / "run" / "mariadb"], check=True)
    wait_for("it hears from the store again", lambda: instance.verify(key["value"]) == 200, 30)


def counted(galera, name):
    """A status variable, summed over both servers."""
    return sum(int(galera.sql(None, f"SHOW STATUS LIKE '{name}'", node).split()[1]) for node in (1, 2))


@pytest.mark.long
@pytest.mark.parametrize("store", ["galera"], indirect=True)
def test_a_lost_certification_is_seen_and_the_work_done_again(nodes, store):
    """Both nodes change the same keys at the same time: of two transactions that collide one fails at its COMMIT, with
    deadlock error 1213. Its work is done again, and none of it is lost."""
    instance = nodes[0].instance
    keys = [instance.json("key", "create", f"contended {n}", "--template", "ANONYMOUS_SEARCH")["id"] for n in range(2)]

    def report(node, number):
        body = {"id": keys[number % 2], "severity": "LOW", "reason": f"{node.name} {number}", "url": f"https://example.com/{node.name}/{number}"}
        return node.request("admin.sock", "POST", "/rest/organizations/example/exposures", {"Content-Type": "application/json"}, body)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda job: report(*job), [(node, number) for number in range(80) for node in nodes]))
    assert {status for status, _ in answers} == {201}, [a for a in answers if a[0] != 201][:3]
    for number, key in enumerate(keys):
        found = [r["reason"] for r in instance.json("key", "show", key)["exposureReport"]["reasons"]]
        assert sorted(found) == sorted(f"{node.name} {n}" for node in nodes for n in range(number, 80, 2)), "nothing lost, nothing twice"
    assert counted(store, "wsrep_local_cert_failures") + counted(store, "wsrep_local_bf_aborts") > 0, "they never collided"
    logs = "".join((instance.dir / "log" / f"{name}.log").read_text(errors="replace") for name in ("daemon", "other"))
    seen = [line for line in logs.splitlines() if "store.conflict" in line and "code=1213" in line]
    assert any("COMMIT" in line for line in seen), f"{len(seen)} conflicts, none of them at the commit"
    assert instance.json("activity", "verify")["good"] is True


@pytest.mark.long
def test_the_leader_dies_and_no_notice_is_lost_or_written_twice(nodes):
    """Both nodes wake up to a day's work; whoever leads is killed in the midst of it, again and again."""
    instance = nodes[0].instance
    chance = random.Random(5)
    keys = set()
    for number in range(500):
        body = {"displayName": f"short {number}", "lifetimeDuration": "P1D",
                "privileges": [{"owner": "PLATFORM", "targetDomain": "SOURCE", "type": "VIEW"}]}
        status, made = nodes[0].request("admin.sock", "POST", "/rest/organizations/example/apikeys?apiKeyTemplateId=CUSTOM",
                                        {"Content-Type": "application/json"}, body)
        assert status == 201, made
        keys.add(json.loads(made)["id"])
    for node in nodes:
        node.end()
    # Two days pass while both are down.
    nodes[0].store.sql(instance, f"REPLACE INTO sallyport.setting (name, content) VALUES ('test_clock.offset', '{2 * DAY}')")
    for node in nodes:
        node.start()
    kills = 0
    for _ in range(4):
        leader = leader_of(nodes)
        time.sleep(chance.uniform(0, 0.4))  # anywhere in its work
        leader.end(signal.SIGKILL)
        kills += 1
        other = next(node for node in nodes if node is not leader)
        wait_for("the other one leads", lambda: (other.status() or {}).get("leading"), 40)
        leader.start()
    leader = leader_of(nodes)
    # What the dead had claimed is free again when their claims have run out.
    for node in nodes:
        node.ctl("clock", "advance", "10min")

    def ended():
        rows = instance.items("notices", "list", "--limit", "1000")
        mine = [r for r in rows if r["subjectId"] in keys and r["kind"] == "key_expired"]
        return mine if len(mine) >= len(keys) and all(r["state"] == "sent" for r in mine) else None
    rows = wait_for("every key's end was announced", ended, 60)
    assert sorted(r["subjectId"] for r in rows) == sorted(keys), "one row a key, no more"
    mails = [m["Message-ID"] for m in instance.mails() if "short " in m["Subject"]]
    wanted = {r["messageId"].strip("<>") for r in rows}
    assert {m.strip("<>") for m in mails} >= wanted
    # Twice only where the daemon died between the server's answer and its commit.
    assert len(mails) - len(set(mails)) <= kills, f"{len(mails)} mails, {len(set(mails))} different"
    assert {k["status"] for k in instance.items("key", "list")} == {"EXPIRED"}
    assert instance.json("activity", "verify")["good"] is True
