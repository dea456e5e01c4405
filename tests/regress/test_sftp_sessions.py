"""What bounds a session: its bandwidth; and how it ends, whatever its client does about it."""
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import time

import pytest

from conftest import Instance, wait_for
from ssh_wire import (CHANNEL_CLOSE, CHANNEL_DATA, CHANNEL_EOF, CHANNEL_OPEN, CHANNEL_WINDOW_ADJUST, EXTENDED, F_CREAT, F_READ, F_TRUNC,
                      F_WRITE, FSETSTAT, INIT, MKDIR, OK, READ, REALPATH, RENAME, RMDIR, STATUS, U64, WRITE, Gone, Raw, Status, Wire, children, packed, request,
                      state_of, timed_session)

# ---------------------------------------------------------------- what is set for a partner

def test_what_is_set_for_a_partner_holds_in_his_sessions(make_instance):
    instance = make_instance("--shared")
    for policy, value in (("trigger", "rename"), ("subfolders", "true"), ("max_file_bytes", "1000"), ("handles", "2"), ("channels", "1"),
                          ("start_directory", "/Incoming/Invoices"), ("not_ready", '["*.wait"]')):
        instance.ctl("partner", "set", "acme", policy, value)
    wire = Wire(instance).login()
    sftp = wire.sftp()
    assert wire.open_channel()[0] is None
    name = sftp.ask(REALPATH, ".")[1]
    assert (name.get_int(), name.get_text()) == (1, "/Incoming/Invoices")
    sftp.ask(MKDIR, "2026", 0)
    sftp.put("2026/a.csv", b"content")
    assert sftp.list("2026") == ["a.csv"], "it waits to be renamed"
    sftp.ask(RENAME, "2026/a.csv", "2026/b.wait")
    assert sftp.list("2026") == ["b.wait"], "to a ready name"
    with pytest.raises(Status):
        sftp.ask(RENAME, "2026", "/Incoming/Users/2026")
    sftp.ask(RENAME, "2026/b.wait", "2026/c.csv")
    assert sftp.list("2026") == []
    wait_for("it is taken, under its object", lambda: instance.json("files", "list", "--object", "Invoices")["items"])
    sftp.ask(RMDIR, "2026")
    handle = sftp.open("/Shared/large", F_WRITE | F_CREAT)
    sftp.write(handle, 0, b"x" * 1000)
    with pytest.raises(Status, match="larger than is allowed"):
        sftp.write(handle, 1000, b"x")
    sftp.opendir("/")
    with pytest.raises(Status, match="Too many open files"):
        sftp.opendir("/")
    wire.close()


def test_a_file_waits_for_its_marker(make_instance):
    instance = make_instance()
    instance.ctl("partner", "set", "acme", "trigger", "marker")
    names = lambda: [line for line in instance.sftp("ls -1 /Incoming/Invoices").stdout.splitlines() if not line.startswith("sftp>")]
    data = instance.dir / "data.csv"
    data.write_text("a,b\n")
    empty = instance.dir / "empty"
    empty.write_text("")
    instance.sftp(f"put {data} /Incoming/Invoices/a.csv")
    assert [name.rsplit("/", 1)[-1] for name in names()] == ["a.csv"]
    assert not instance.items("files", "list")
    instance.sftp(f"put {empty} /Incoming/Invoices/a.csv.done")
    file = wait_for("it is taken, without its marker", lambda: instance.items("files", "list"))
    assert [one["name"] for one in file] == ["a.csv"] and names() == []


def test_what_is_never_finished_is_parked_after_two_days(make_instance):
    instance = make_instance()
    data = instance.dir / "data.csv"
    data.write_text("a,b\n")
    instance.sftp(f"put {data} /Incoming/Invoices/b.part", f"put {data} /Incoming/c.part")
    wire = Wire(instance).login()
    sftp = wire.sftp()
    sftp.write(sftp.open("/Incoming/Invoices/a.csv", F_WRITE | F_CREAT | F_TRUNC), 0, b"half")
    cut(wire)

    def names(folder):
        done = instance.sftp(f"-ls -1 {folder}", check=False).stdout.splitlines()
        return sorted(line.rsplit("/", 1)[-1] for line in done if not line.startswith("sftp>"))
    wait_for("it can be resumed", lambda: names("/Incoming/Invoices") == ["a.csv", "b.part"])
    instance.advance("60s")  # in which the daemon sees them: before that, only the machine's clock tells their age
    instance.advance("47h")
    assert names("/Incoming/Invoices") == ["a.csv", "b.part"] and "c.part" in names("/Incoming")
    instance.advance("2h")
    wait_for("all are parked", lambda: names("/Incoming/Invoices") == [] and "c.part" not in names("/Incoming"))
    parked = names("/Archive/Failed/Invoices") + names("/Archive/Failed")
    for name in ("a.csv", "b.part", "c.part"):
        assert [one for one in parked if one.startswith(name) and not one.endswith(".reason.txt")], parked
        assert [one for one in parked if one.startswith(name) and one.endswith(".reason.txt")], parked


def test_a_file_in_incoming_itself_belongs_to_no_object(make_instance):
    instance = make_instance("--option", 'partner.signature="optional"')
    data = instance.dir / "data.csv"
    data.write_text("a,b\n")
    instance.sftp(f"put {data} /Incoming/a.csv")
    row = instance.wait_state("a.csv", "archived")
    assert row["object"] == "" and "a.csv" in instance.sftp("ls -1 /Archive/Incoming").stdout


# ---------------------------------------------------------------- bandwidth

RATE = 100 * 1024
LARGEST = 261_120


@pytest.fixture(scope="module")
def slow_instance():
    made = Instance("--shared", "--option", f"partner.bytes_per_second={RATE}")
    yield made
    made.down()


def fetched(sftp, seconds):
    """The bytes of all answers that come within that time."""
    end, total = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        try:
            sftp.wire.wait(lambda: len(sftp.channel.data) >= 4096, left)
        except AssertionError:
            break
        total += len(sftp.channel.data)
        sftp.channel.data.clear()
    return total


def test_the_bandwidth_limit_holds_for_requests_that_wait_in_line(slow_instance):
    """A second's worth may be saved up, and the request that goes over it is answered."""
    sftp = Wire(slow_instance).login().sftp()
    content = os.urandom(LARGEST)
    handle = sftp.open("/Shared/line", F_WRITE | F_CREAT | F_TRUNC | F_READ)
    sftp.write(handle, 0, content)
    start = time.monotonic()
    sftp.raw(b"".join(request(READ, number, handle, U64(0), 32_768) for number in range(200)))
    total = fetched(sftp, 6)
    taken = time.monotonic() - start
    assert total < RATE * (taken + 1) + 2 * 32_768, "no faster than the limit"
    assert total > RATE * taken / 2 - LARGEST, "and not much slower"
    sftp.wire.close()
    # The same upwards: who does not wait for answers is no faster than who does.
    sftp = Wire(slow_instance).login().sftp()
    handle = sftp.open("/Shared/line", F_WRITE | F_CREAT | F_TRUNC)
    writes = b"".join(request(WRITE, number, handle, U64(number * 32_768), content[:32_768]) for number in range(24))
    start = time.monotonic()
    sftp.raw(writes)
    for _ in range(24):
        kind, message = sftp.reply(30)
        assert kind == STATUS and message.get_int() < 24 and message.get_int() == OK
    assert time.monotonic() - start > (24 * 32_768 - RATE - 2 * 32_768) / RATE
    sftp.close(handle)
    sftp.wire.close()


def test_who_hangs_up_while_the_bandwidth_is_used_up_is_gone(slow_instance):
    front = int(slow_instance.env["SALLYPORT_SFTP_PID"])
    wait_for("the sessions of earlier tests have ended", lambda: not children(front), 60)
    sftp = Wire(slow_instance).login().sftp()
    handle = sftp.open("/Shared/gone", F_WRITE | F_CREAT | F_TRUNC | F_READ)
    sftp.write(handle, 0, os.urandom(LARGEST))
    sftp.raw(b"".join(request(READ, number, handle, U64(0), LARGEST) for number in range(100)))
    sftp.wire.close()
    wait_for("its session has ended", lambda: not children(front), 5)


def test_what_crosses_no_wire_costs_no_bandwidth(slow_instance):
    sftp = Wire(slow_instance).login().sftp()
    source = sftp.open("/Shared/source", F_WRITE | F_CREAT | F_TRUNC | F_READ)
    sftp.write(source, 0, os.urandom(32_768))
    sftp.ask(FSETSTAT, source, 1, U64(32 << 20))
    copy = sftp.open("/Shared/copy", F_WRITE | F_CREAT | F_TRUNC)
    start = time.monotonic()
    sftp.ask(EXTENDED, "copy-data", source, U64(0), U64(0), copy, U64(0))
    assert {"copy", "source"} <= set(sftp.list("/Shared"))
    assert time.monotonic() - start < 60, "32 MiB would take more than five minutes"
    sftp.wire.close()


def test_the_bandwidth_is_shared_by_the_channels_of_a_connection(slow_instance):
    wire = Wire(slow_instance).login()
    channels = [wire.sftp(), wire.sftp()]
    handle = channels[0].open("/Shared/share", F_WRITE | F_CREAT | F_TRUNC | F_READ)
    channels[0].write(handle, 0, os.urandom(32_768))
    for greedy, modest in (channels, channels[::-1]):
        handle = greedy.open("/Shared/share")
        greedy.raw(b"".join(request(READ, number, handle, U64(0), 32_768) for number in range(60)))
        modest.send(REALPATH, "/")
        modest.reply(5)
        for _ in range(60):
            greedy.reply(30)
    wire.close()


def test_what_waits_for_bandwidth_is_answered_before_the_channel_ends(slow_instance):
    wire = Wire(slow_instance).login()
    sftp = wire.sftp()
    handle = sftp.open("/Shared/last", F_WRITE | F_CREAT | F_TRUNC | F_READ)
    sftp.write(handle, 0, b"x" * 8192)
    sftp.raw(b"".join(request(READ, number, handle, U64(0), 1 + number % 8192) for number in range(0, 80_000, 997)))
    sftp.raw(request(WRITE, 99_999, handle, U64(8192), b"the end"))
    wire.send(CHANNEL_EOF, sftp.channel.remote)
    answers = 0
    while sftp.reply(30):
        answers += 1
    assert answers == len(range(0, 80_000, 997)) + 1 and sftp.channel.exit_status == 0
    assert wire.sftp().get("/Shared/last").endswith(b"the end")
    wire.close()


# ---------------------------------------------------------------- channels

def test_who_takes_a_long_download_slowly_is_not_idle(stubborn_instance):
    """All is asked for at once, as paramiko's prefetch does: nothing but the window of the channel comes from it later."""
    wire = Wire(stubborn_instance).login()
    wire.sftp().put("/Shared/slow", os.urandom(1 << 20))
    sftp = wire.sftp(window=65_536)
    handle = sftp.open("/Shared/slow")
    sftp.raw(b"".join(request(READ, number, handle, U64(0), 32_768) for number in range(200)))
    end = time.monotonic() + 11
    while time.monotonic() < end:
        wire.wait(lambda: sftp.channel.data, 5)
        count = len(sftp.channel.data)
        sftp.channel.data.clear()
        wire.send(CHANNEL_WINDOW_ADJUST, sftp.channel.remote, count)
        time.sleep(0.3)  # the speed of its line
    assert wire.sftp().list("/"), "it is there still"
    wire.close()


def test_a_close_in_the_middle_of_a_download_is_answered(stubborn_instance):
    wire = Wire(stubborn_instance).login()
    first = wire.sftp()
    first.put("/Shared/long", os.urandom(1 << 20))
    wire.send(CHANNEL_CLOSE, first.channel.remote)
    for _ in range(25):  # more than a connection has channels
        sftp = wire.sftp(window=65_536)
        handle = sftp.open("/Shared/long")
        sftp.raw(b"".join(request(READ, number, handle, U64(0), 32_768) for number in range(20)))
        wire.wait(lambda: len(sftp.channel.data) > 60_000)  # the rest was taken by answers before
        wire.send(CHANNEL_CLOSE, sftp.channel.remote)
        wire.wait(lambda: sftp.channel.closed)
    wire.close()


def test_a_channel_of_messages_that_hold_nothing_ends_its_session(slow_instance):
    front = int(slow_instance.env["SALLYPORT_SFTP_PID"])
    wait_for("the sessions of earlier tests have ended", lambda: not children(front), 60)
    wire = Wire(slow_instance).login()
    other = wire.sftp()
    other.write(other.open("/Shared/unheard-open", F_WRITE | F_CREAT | F_TRUNC), 0, b"written, not closed")
    number, _ = wire.open_channel(largest=10)
    assert wire.request(number, "subsystem", "sftp")
    wire.data(number, packed(5, Raw([INIT]), 3) + b"".join(request(MKDIR, n, f"/Shared/unheard{n}", 0) for n in range(10)))
    wait_for("its session has ended", lambda: not children(front), 5)
    wire.close()
    assert timed_session(slow_instance) < 10

    # It ends in the middle of its first answer. What it had done is in the audit all the same.
    def known():
        with sqlite3.connect(f"file:{slow_instance.dir}/sallyport.db?mode=ro", uri=True) as store:
            return store.execute("SELECT count(*) FROM session_event WHERE path LIKE '/Shared/unheard%'").fetchone()[0]
    wait_for("all of it is in the audit, and what its other channel had open", lambda: known() == 11, 10)


def test_who_sends_more_than_the_window_is_told_and_put_out(slow_instance):
    wire = Wire(slow_instance).login()
    sftp = wire.sftp()
    handle = sftp.open("/Shared/flood", F_WRITE | F_CREAT | F_TRUNC)
    piece = request(WRITE, 1, handle, U64(0), b"x" * 32_000)
    for _ in range(400):
        wire.send(CHANNEL_DATA, sftp.channel.remote, piece)
    assert "window" in wire.ended(10)
    wire.close()


# ---------------------------------------------------------------- those who will not go

def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def glutton(instance):
    """It has asked for all that a session ever has ready, and takes nothing of it."""
    wire = Wire(instance).login()
    sftp = wire.sftp()
    sftp.put("/Shared/wanted", os.urandom(1 << 20))
    handle = sftp.open("/Shared/wanted")
    wire.reads.clear()
    sftp.raw(b"".join(request(READ, number, handle, U64(0), 261_120) for number in range(200)))
    front = int(instance.env["SALLYPORT_SFTP_PID"])
    [session] = children(front)

    sleeps(session)
    return wire


def procrastinator(instance):
    """It asks, and begins an exchange of keys that it never ends: nothing can be answered meanwhile."""
    wire = Wire(instance).login()
    sftp = wire.sftp()
    [session] = children(int(instance.env["SALLYPORT_SFTP_PID"]))
    wait_for("it waits for a word", lambda: state_of(session) == "S")
    os.kill(session, signal.SIGSTOP)  # so that both are there when it looks
    wire.reads.clear()
    sftp.send(REALPATH, "/")
    wire.transport._send_kex_init()
    os.kill(session, signal.SIGCONT)
    sleeps(session)
    return wire


def sleeps(session):
    def it_waits():
        before = cpu_seconds(session)
        time.sleep(0.5)  # a time to look at, not to wait for something
        return cpu_seconds(session) - before < 0.05
    wait_for("its session waits, asleep", it_waits)


def hangs_on(wire):
    """Whatever is said to it, this client keeps its end of the connection open."""
    return wire.socket.dup()


@pytest.fixture(scope="module")
def stubborn_instance():
    made = Instance("--shared", "--option", "partner.idle=\"8s\"")
    yield made
    made.down()


@pytest.mark.parametrize("how", ["suspension", "the daemon's death", "the idle limit"])
@pytest.mark.parametrize("who", ["glutton", "idler", "procrastinator"])
def test_a_session_ends_whatever_its_client_does(stubborn_instance, how, who):
    """Within 5 s of a suspension (spec/gateway.md 3), of which 3 are for the client to take the last word."""
    instance = stubborn_instance
    front = int(instance.env["SALLYPORT_SFTP_PID"])
    wait_for("the sessions of earlier tests have ended", lambda: not children(front), 60)
    if who == "idler":
        wire = Wire(instance).login()
        wire.sftp().list("/")
    else:
        wire = {"glutton": glutton, "procrastinator": procrastinator}[who](instance)
    held = hangs_on(wire)
    limit = 5
    try:
        match how:
            case "suspension":
                instance.ctl("partner", "suspend", "acme")
            case "the daemon's death":
                instance.kill("daemon")
            case "the idle limit":
                limit = 8 + 5
        wait_for("its session has ended", lambda: not children(front), limit)
    finally:
        match how:
            case "suspension":
                instance.ctl("partner", "resume", "acme")
            case "the daemon's death":
                instance.restart()
        held.close()
        wire.close()
    if who == "idler" and how == "suspension":
        wire.transport.join(10)
        assert "suspended" in wire.said
    assert timed_session(instance) < 10


def test_a_client_that_never_stops_asking_is_suspended_in_time(stubborn_instance):
    """Its session always has a word to hear, and waits awake for the next: the daemon's is heard all the same."""
    instance = stubborn_instance
    front = int(instance.env["SALLYPORT_SFTP_PID"])
    wait_for("the sessions of earlier tests have ended", lambda: not children(front), 60)
    env = instance.env
    asking = subprocess.Popen(["yes", "cd /"], stdout=subprocess.PIPE)
    client = subprocess.Popen(["sftp", "-F", "/dev/null", "-o", f"UserKnownHostsFile={env['SFTP_HOST_KEYS']}", "-o",
                               "StrictHostKeyChecking=yes", "-o", f"IdentityFile={env['SFTP_KEY']}", "-o", "IdentitiesOnly=yes", "-P",
                               env["SFTP_PORT"], "-b", "-", f"{env['SFTP_USER']}@127.0.0.1"], stdin=asking.stdout,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_for("it is busy", lambda: any(cpu_seconds(session) > 0.3 for session in children(front)), 60)
        instance.ctl("partner", "suspend", "acme")
        wait_for("its session has ended", lambda: not children(front), 5)
        assert client.wait(10) != 0
        assert "suspended" in client.stderr.read()
    finally:
        instance.ctl("partner", "resume", "acme")
        for process in (client, asking):
            process.kill()
            process.wait()


def test_a_session_that_cannot_hear_that_it_is_suspended_is_ended(instance):
    front = int(instance.env["SALLYPORT_SFTP_PID"])
    wait_for("the sessions of earlier tests have ended", lambda: not children(front), 60)
    wire = Wire(instance).login()
    [session] = children(front)
    os.kill(session, signal.SIGSTOP)  # as if somebody had taken it over
    try:
        instance.ctl("partner", "suspend", "acme")
        wait_for("its parent has ended it", lambda: not children(front), 5)
    finally:
        instance.ctl("partner", "resume", "acme")
    wire.close()


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def test_every_session_is_fenced_in_before_and_after_its_login(instance):
    """Of live sessions: what the sandbox refuses is tested from inside (unit_sftp, test_sandbox_live), and here that they are in it."""
    front = int(instance.env["SALLYPORT_SFTP_PID"])
    wait_for("the sessions of earlier tests have ended", lambda: not children(front), 60)
    outside = int(status_of(front).get("Seccomp_filters", "0"))

    def fence(session):
        found = status_of(session)
        with open(f"/proc/{session}/limits", encoding="ascii") as limits:
            core = next(line for line in limits if line.startswith("Max core file size")).split()[4:6]
        assert (found["Seccomp"], found["NoNewPrivs"], core) == ("2", "1", ["0", "0"])
        open_files = [os.readlink(f"/proc/{session}/fd/{n}") for n in os.listdir(f"/proc/{session}/fd")]
        assert not [name for name in open_files if "host-keys" in name or name.endswith("/log")]
        return int(found["Seccomp_filters"]) - outside

    stranger = socket.create_connection((instance.env["SFTP_HOST"], int(instance.env["SFTP_PORT"])), timeout=20)
    assert stranger.recv(4) == b"SSH-"
    [session] = children(front)
    assert fence(session) == 1
    stranger.close()
    wait_for("it has ended", lambda: not children(front))
    wire = Wire(instance).login()
    assert wire.sftp().list("/")
    [session] = children(front)
    assert fence(session) == 2, "one more after the login"
    wire.close()


def test_a_stranger_who_is_turned_away_is_gone_whatever_he_does(instance):
    front = int(instance.env["SALLYPORT_SFTP_PID"])
    wait_for("the sessions of earlier tests have ended", lambda: not children(front), 60)
    wire = Wire(instance).service()
    held = hangs_on(wire)
    with pytest.raises(Gone, match="(?i)too many"):
        for number in range(20):
            wire.password("nobody", f"guess {number}")
    wait_for("his session has ended", lambda: not children(front), 5)
    held.close()
    wire.close()


def cut(wire):
    """Ends the connection with a reset, as a system does whose client has gone with words unread."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()
    wire.transport.join(5)  # while it reads, the socket is not closed


@pytest.mark.parametrize("last_word", ["the end of the channel", "its close", "both, of two channels", "a request", "a new channel"])
def test_a_session_whose_answer_meets_a_hang_up_is_over(instance, last_word):
    """What is answered to the last word cannot be sent: nothing else tells the session that its client has gone."""
    front = int(instance.env["SALLYPORT_SFTP_PID"])
    wait_for("the sessions of earlier tests have ended", lambda: not children(front), 60)
    wire = Wire(instance).login()
    first, second = wire.sftp(), wire.sftp()
    [session] = children(front)
    wait_for("it waits for a word", lambda: state_of(session) == "S")
    os.kill(session, signal.SIGSTOP)  # so that both are there when it looks
    try:
        wait_for("it has stopped", lambda: state_of(session) == "T")
        match last_word:
            case "the end of the channel":
                wire.send(CHANNEL_EOF, first.channel.remote)
            case "its close":
                wire.send(CHANNEL_CLOSE, first.channel.remote)
            case "both, of two channels":
                wire.send(CHANNEL_EOF, first.channel.remote)
                wire.send(CHANNEL_CLOSE, second.channel.remote)
            case "a request":
                first.send(REALPATH, "/")
            case "a new channel":
                wire.send(CHANNEL_OPEN, "session", 2, 32768, 32768)
        cut(wire)
    finally:
        os.kill(session, signal.SIGCONT)
    wait_for("the session has ended", lambda: not children(front), 10)
