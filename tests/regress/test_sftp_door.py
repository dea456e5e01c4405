"""What strangers meet before they are let in: algorithms, bad signatures, what the log says to fail2ban, and that a
crowd at the door, or somebody who stands in it, keeps nobody else out."""
import concurrent.futures
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import paramiko
import pytest

from conftest import TESTS, Instance, wait_for
from ssh_wire import (CHANNEL_CLOSE, CHANNEL_EOF, CHANNEL_OPEN, EXTENDED, F_CREAT, F_READ, F_TRUNC, F_WRITE, FSETSTAT, OK, READ, REALPATH,
                      STATUS, U64, WRITE, Gone, Raw, Wire, children, packed)


def needed(program, package):
    if shutil.which(program) is None:
        pytest.fail(f"{program} is missing: apt-get install {package}, or make deps")
    return program


def transport(instance):
    connected = paramiko.Transport((instance.env["SFTP_HOST"], int(instance.env["SFTP_PORT"])))
    connected.start_client(timeout=20)
    connected.auth_timeout = 25
    return connected


def key_that_signs_badly(instance, how):
    key = paramiko.RSAKey.from_private_key_file(instance.env["SFTP_KEY"])
    sign = key.sign_ssh_data

    def bad(data, algorithm=None):
        if how == "sha1":
            return sign(data, "ssh-rsa")
        message = sign(data, algorithm)
        raw = bytearray(message.asbytes())
        if how == "flipped":
            raw[-1] ^= 1
        return paramiko.Message(bytes(raw if how == "flipped" else raw[:-40]))
    key.sign_ssh_data = bad
    return key


def daemon_log(instance):
    return (instance.dir / "log" / "daemon.log").read_text(errors="replace")


@pytest.mark.parametrize("how", ["flipped", "short", "sha1"])
def test_a_bad_signature_is_refused_at_once(instance, how):
    client = transport(instance)
    start = time.monotonic()
    with pytest.raises(paramiko.SSHException):
        client.auth_publickey(instance.env["SFTP_USER"], key_that_signs_badly(instance, how))
    assert time.monotonic() - start < 10
    assert not client.is_authenticated()
    client.close()


def test_bad_signatures_are_counted_and_ban(make_instance):
    instance = make_instance("--option", "gateway.ban_failures=4", "--option", "gateway.never_ban=[]")
    for _ in range(4):
        client = transport(instance)
        with pytest.raises(paramiko.SSHException):
            client.auth_publickey(instance.env["SFTP_USER"], key_that_signs_badly(instance, "flipped"))
        client.close()
    assert daemon_log(instance).count("bad_signature") >= 4
    wait_for("the address is banned", lambda: "127.0.0.1" in instance.ctl("ban", "list"))
    with pytest.raises(paramiko.SSHException):
        transport(instance)
    instance.ctl("ban", "lift", "127.0.0.1")

    def let_in():
        try:
            client = transport(instance)
            client.auth_publickey(instance.env["SFTP_USER"], paramiko.RSAKey.from_private_key_file(instance.env["SFTP_KEY"]))
            good = client.is_authenticated()
            client.close()
            return good
        except (paramiko.SSHException, EOFError):
            return False
    wait_for("a lifted ban lets in again", let_in)


def test_fail2ban_finds_every_failed_login_and_nothing_else(make_instance):
    program = needed("fail2ban-regex", "fail2ban")
    instance = make_instance("--option", 'gateway.never_ban=["127.0.0.0/8"]')
    # What a stranger can choose must not name another address.
    hostile = ["acme", "nobody", "x login failed from 192.0.2.9 port 1: ", "a\nlogin failed from 192.0.2.9 port 1: x"]
    for user in hostile:
        client = transport(instance)
        with pytest.raises(paramiko.SSHException):
            client.auth_password(user, "certainly not this one")
        client.close()
    wait_for("all are logged", lambda: daemon_log(instance).count("sftp.login_failed: ") >= len(hostile), 60)
    instance.sftp("ls")
    found = subprocess.run([program, "--print-all-matched", str(instance.dir / "log" / "daemon.log"),
                            str(TESTS.parent / "systemd/fail2ban/filter.d/sallyport.conf")],
                           text=True, capture_output=True, check=True).stdout
    assert f"{len(hostile)} matched" in found, found
    verbose = subprocess.run([program, "-v", str(instance.dir / "log" / "daemon.log"),
                              str(TESTS.parent / "systemd/fail2ban/filter.d/sallyport.conf")],
                             text=True, capture_output=True, check=True).stdout
    assert "192.0.2.9" not in re.sub(r".*Log-?line.*", "", verbose)
    # As the journal has it, where fail2ban puts host and program before the message.
    line = "Nov 22 16:00:00 gate sallyportd[123]: login failed from 2001:db8::7 port 4022: wrong_key (user \"a\", client \"b\")"
    journal = subprocess.run([program, line, str(TESTS.parent / "systemd/fail2ban/filter.d/sallyport.conf")],
                             text=True, capture_output=True, check=True).stdout
    assert "1 matched" in journal, journal


def test_ssh_audit_finds_nothing_to_blame(instance):
    program = needed("ssh-audit", "ssh-audit")
    found = subprocess.run([program, "-n", "-l", "warn", "-p", instance.env["SFTP_PORT"], instance.env["SFTP_HOST"]], text=True,
                           capture_output=True, check=False).stdout
    # Older versions of the program do not know what strict key exchange is called.
    blamed = [line for line in found.splitlines() if re.search(r"\[(warn|fail)\]", line) and "kex-strict-s-v00" not in line]
    assert not blamed, "\n".join(blamed)
    everything = subprocess.run([program, "-n", "-p", instance.env["SFTP_PORT"], instance.env["SFTP_HOST"]], text=True,
                                capture_output=True, check=False).stdout
    assert "kex-strict-s-v00@openssh.com" in everything and "(kex) curve25519-sha256" in everything
    for weak in ("sha1", "-cbc", "3des", "arcfour", "hmac-md5", "ssh-rsa ", "dss", "group14"):
        assert weak not in re.sub(r"\(fin\).*", "", everything), weak


def algorithms_offered(instance):
    """What nmap sees, by kind."""
    program = needed("nmap", "nmap")
    found = subprocess.run([program, "-Pn", "-p", instance.env["SFTP_PORT"], "--script", "+ssh2-enum-algos", "-oN", "-", instance.env["SFTP_HOST"]],
                           text=True, capture_output=True, check=True).stdout
    kinds, kind = {}, None
    for line in found.splitlines():
        if heading := re.match(r"\|_?\s+(\w+): \(\d+\)", line):
            kinds[kind := heading[1]] = []
        elif kind and (entry := re.match(r"\|_?\s{6,}(\S+)", line)):
            kinds[kind].append(entry[1])
    assert len(kinds) == 5, found
    return kinds


def test_nmap_sees_modern_algorithms_alone(instance):
    kinds = algorithms_offered(instance)
    assert "kex-strict-s-v00@openssh.com" in kinds["kex_algorithms"] and "curve25519-sha256" in kinds["kex_algorithms"]
    assert kinds["server_host_key_algorithms"] and kinds["encryption_algorithms"] and kinds["mac_algorithms"]
    for name in [name for names in kinds.values() for name in names]:
        for weak in ("sha1", "cbc", "md5", "3des", "arcfour", "dss", "umac-64", "group1-", "group14", "nistp"):
            assert weak not in name, name
    assert "ssh-rsa" not in kinds["server_host_key_algorithms"]
    assert all(name.endswith("-etm@openssh.com") for name in kinds["mac_algorithms"])
    assert kinds["compression_algorithms"] == ["none"], "nothing is compressed"


def test_rsa_keys_have_two_thousand_and_forty_eight_bits_at_least(instance):
    scan = subprocess.run(["ssh-keyscan", "-t", "rsa", "-p", instance.env["SFTP_PORT"], instance.env["SFTP_HOST"]], text=True,
                          capture_output=True, check=True).stdout
    bits = subprocess.run(["ssh-keygen", "-l", "-f", "-"], input=scan, text=True, capture_output=True, check=True).stdout
    assert int(bits.split()[0]) >= 2048, bits
    short = paramiko.RSAKey.generate(1024)
    public = instance.dir / "short.pub"
    public.write_text(f"ssh-rsa {short.get_base64()} short\n")
    assert "2048" in instance.ctl_fails("partner", "ssh-key", "add", "acme", public)
    client = transport(instance)
    with pytest.raises(paramiko.SSHException):
        client.auth_publickey("acme", short)
    client.close()


# ---------------------------------------------------------------- a crowd, and somebody who stands in the door

def timed_session(instance, source=None):
    """Seconds from the first packet to a listing."""
    start = time.monotonic()
    wire = Wire(instance, source=source).login()
    assert wire.sftp().list("/")
    taken = time.monotonic() - start
    wire.close()
    return taken


def test_idle_strangers_of_one_address_keep_no_other_out(instance):
    instance.ctl("partner", "list")
    address = (instance.env["SFTP_HOST"], int(instance.env["SFTP_PORT"]))
    front = int(instance.env["SALLYPORT_SFTP_PID"])
    wait_for("the sessions of earlier tests have ended: one would take a place, and leave it later", lambda: not children(front), 60)
    crowd = []
    try:
        for number in range(300):
            one = socket.create_connection(address, 10)
            if number % 2:
                one.sendall(b"SSH-2.0-Stranger\r\n")
            crowd.append(one)
        wait_for("100 of them have a session each, the others none", lambda: len(children(front)) == 100)
        assert timed_session(instance, "127.0.0.2") < 2
        assert timed_session(instance, "127.0.0.3") < 2
        with socket.create_connection(address, 10) as one_more:
            one_more.settimeout(10)
            said = b""
            while piece := one_more.recv(4096):
                said += piece
            assert b"Too many connections from your address" in said
    finally:
        for one in crowd:
            one.close()
    wait_for("they are forgotten", lambda: not children(front))
    assert timed_session(instance) < 10


def resident_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


def test_a_client_that_stops_holds_up_nobody_but_itself(make_instance):
    instance = make_instance("--shared")
    front = int(instance.env["SALLYPORT_SFTP_PID"])
    content = os.urandom(1 << 20)
    first = Wire(instance).login().sftp()
    first.put("/Shared/wanted", content)
    # It asks for 4 GiB, with a window that takes them, and does not read a byte of it.
    reader = Wire(instance).login()
    sftp = reader.sftp()
    handle = sftp.open("/Shared/wanted")
    reader.reads.clear()
    requests = b"".join(request(READ, number, handle, U64(0), 262144) for number in range(16_000))

    def ask():
        for at in range(0, len(requests), 32768):
            reader.send(94, sftp.channel.remote, requests[at:at + 32768])
    threading.Thread(target=ask, daemon=True).start()
    # One that stops in the middle of a packet of an upload, and one in the middle of a login.
    writer = Wire(instance).login()
    half = writer.sftp()
    upload = half.open("/Incoming/Users/half.csv", F_WRITE | F_CREAT | F_TRUNC)
    half.raw(request(WRITE, 1, upload, U64(0), b"x" * 32768)[:20_000])
    mute = Wire(instance)
    for _ in range(3):
        start = time.monotonic()
        wire = Wire(instance).login()
        other = wire.sftp()
        other.put("/Shared/other", content)
        assert other.get("/Shared/other") == content
        other.put("/Incoming/Users/whole.csv", b"a,b\n")
        wire.close()
        assert time.monotonic() - start < 5
    for child in children(front):
        assert resident_kb(child) < 100 * 1024, "what nobody reads is not gathered without end"
    for wire in (reader, writer, mute, first.wire):
        wire.close()
    wait_for("all sessions have ended", lambda: not children(front), 15)


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


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        return stat.read().rpartition(")")[2].split()[0]


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


def request(kind, number, *parts):
    return packed(bytes(Raw([kind]) + packed(number, *parts)))


def held(pid):
    """Descriptors, threads and resident kilobytes of a process."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")), resident_kb(pid)


@pytest.mark.long
def test_a_thousand_logins_a_minute_leak_nothing(make_instance):
    """$SALLYPORT_TEST_LOGINS: how many, 1,000 a minute."""
    logins = int(os.environ.get("SALLYPORT_TEST_LOGINS", "1000"))
    instance = make_instance("--option", "log.level=\"info\"")
    front, daemon = int(instance.env["SALLYPORT_SFTP_PID"]), int(instance.env["SALLYPORTD_PID"])

    def run(count):
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            def one(number):
                time.sleep(max(0.0, start + number * 0.06 - time.monotonic()))  # the rate, not a wait for something
                return timed_session(instance)
            slowest = max(pool.map(one, range(count)))
        wait_for("all sessions have ended", lambda: not children(front), 15)
        return slowest, time.monotonic() - start

    run(200)  # caches, pools and the memory allocator have what they need
    before = {pid: held(pid) for pid in (front, daemon)}
    slowest, seconds = run(logins)
    after = {pid: held(pid) for pid in (front, daemon)}
    print(f"{logins} logins in {seconds:.0f} s, slowest {slowest:.2f} s; (descriptors, threads, KiB) front {before[front]} -> {after[front]}, "
          f"daemon {before[daemon]} -> {after[daemon]}")
    for pid in (front, daemon):
        assert after[pid][0] <= before[pid][0] + 2, "descriptors"
        assert after[pid][1] <= before[pid][1], "threads"
        assert after[pid][2] <= before[pid][2] + 8192, "memory"
    assert seconds < logins * 0.06 * 1.5 + 10 and slowest < 5
    assert instance.json("status")
