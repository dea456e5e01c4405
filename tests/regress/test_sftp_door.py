"""What strangers meet before they are let in: algorithms, bad signatures, what the log says to fail2ban, and that a
crowd at the door, or somebody who stands in it, keeps nobody else out."""
import concurrent.futures
import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
import termios
import threading
import time

import paramiko
import pytest

from conftest import TESTS, wait_for
from ssh_wire import F_CREAT, F_TRUNC, F_WRITE, READ, U64, USERAUTH_REQUEST, WRITE, Wire, children, packed, request, timed_session


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


def test_who_stays_after_a_bad_signature_is_counted_all_the_same(instance):
    before = daemon_log(instance).count("bad_signature")
    client = transport(instance)
    held = client.sock.dup()  # the connection goes on, whatever the client does
    with pytest.raises(paramiko.SSHException):
        client.auth_publickey(instance.env["SFTP_USER"], key_that_signs_badly(instance, "flipped"))
    client.close()
    wait_for("it is in the log for fail2ban", lambda: daemon_log(instance).count("bad_signature") > before, 15)
    held.close()


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


def test_failures_are_slowed_then_refused_for_a_while_and_a_restart_changes_nothing(make_instance):
    instance = make_instance("--option", "gateway.ban_failures=5", "--option", 'gateway.ban_time="15s"', "--option", "gateway.never_ban=[]")

    def seconds_to_be_refused():
        client = transport(instance)
        start = time.monotonic()
        with pytest.raises(paramiko.SSHException):
            client.auth_password("nobody-at-all", "not the password")
        taken = time.monotonic() - start
        client.close()
        return taken

    taken = [seconds_to_be_refused() for _ in range(4)]
    assert taken[2] >= 0.25 and taken[3] >= 0.5, taken
    seconds_to_be_refused()
    wait_for("the address is banned", lambda: "127.0.0.1" in instance.ctl("ban", "list"))
    assert instance.sftp("ls", check=False).returncode != 0
    wait_for("its time is over", lambda: instance.sftp("ls", check=False).returncode == 0, 40)
    instance.ctl("ban", "add", "127.0.0.1")
    instance.restart()
    assert "127.0.0.1" in instance.ctl("ban", "list")
    assert instance.sftp("ls", check=False).returncode != 0


def test_a_flood_that_never_tries_to_log_in_is_banned(make_instance):
    """Each connection costs a key exchange; nothing of it is a failed login."""
    instance = make_instance("--option", 'gateway.never_ban=["127.0.0.1/32"]', "--option", "gateway.max_unfinished=10")
    place = (instance.env["SFTP_HOST"], int(instance.env["SFTP_PORT"]))

    def comes_and_goes():
        with socket.create_connection(place, timeout=20, source_address=("127.0.0.7", 0)) as stranger:
            stranger.settimeout(20)
            return stranger.recv(100)

    for _ in range(11):
        comes_and_goes()
    ban = wait_for("the flood is banned", lambda: instance.items("ban", "list"), 30)[0]
    assert (ban["address"], ban["reason"]) == ("127.0.0.7", "11 connections without a login within a minute")
    assert b"Too many failed logins or connections" in comes_and_goes()
    assert instance.sftp("ls").returncode == 0, "another address"
    refused = wait_for("the refusals are on record",
                       lambda: [row for row in instance.items("audit") if row["event"] == "turned_away"], 30)
    assert refused[0]["address"] == "127.0.0.7" and refused[0]["detail"].startswith("banned: "), refused
    instance.ctl("ban", "lift", "127.0.0.7")
    wait_for("who may come again is greeted and heard", lambda: b"Too many" not in comes_and_goes())


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
    assert not [name for name in kinds["kex_algorithms"] if "group18" in name], "200 ms of ours for nothing of a stranger's"
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


def test_a_kind_of_keys_that_is_not_known_is_no_attempt(instance):
    wire = Wire(instance).service()
    blob = packed("ssh-ed448", b"k" * 57)
    wire.send(USERAUTH_REQUEST, instance.env["SFTP_USER"], "ssh-connection", "publickey", False, "ssh-ed448", blob)
    assert "not supported" in wire.ended(10)
    wait_for("the log has it", lambda: "unknown_key_type" in daemon_log(instance))
    assert timed_session(instance) < 10


def test_who_takes_too_long_to_log_in_is_told_so(make_instance):
    instance = make_instance("--option", 'gateway.login_grace="3s"')
    start = time.monotonic()
    assert "too long" in Wire(instance).service().ended(10)
    assert time.monotonic() - start < 8


# ---------------------------------------------------------------- clients whose system holds back what they say next

def received(stream, count):
    data = b""
    while len(data) < count:
        assert (piece := stream.recv(count - len(data))), "the server hung up"
        data += piece
    return data


def seconds_until_acknowledged(instance):
    """How long the server takes to acknowledge a client's KEXINIT, which it has no answer to."""
    with socket.create_connection((instance.env["SFTP_HOST"], int(instance.env["SFTP_PORT"])), 10) as client:
        client.sendall(b"SSH-2.0-Waits\r\n")
        while received(client, 1) != b"\n":
            pass
        length = received(client, 4)
        kexinit = length + received(client, struct.unpack(">I", length)[0])
        start = time.monotonic()
        client.sendall(kexinit)
        while struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, b"\0" * 4))[0] and time.monotonic() < start + 5:
            time.sleep(0.001)
        return time.monotonic() - start


def test_a_client_that_says_two_things_in_turn_is_not_kept_waiting(instance):
    """Most do not turn Nagle's algorithm off before they have logged in: what they say next goes out when we have acknowledged
    what they said before. Left to the system that takes 40 ms, each time."""
    assert min(seconds_until_acknowledged(instance) for _ in range(10)) < 0.025


# ---------------------------------------------------------------- a crowd, and somebody who stands in the door

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


def held(pid):
    """Descriptors, threads and resident kilobytes of a process."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")), resident_kb(pid)


@pytest.mark.long
def test_a_thousand_logins_a_minute_leak_nothing(make_instance):
    """$SALLYPORT_TEST_LOGINS: how many, 1,000 a minute; ten minutes of them."""
    logins = int(os.environ.get("SALLYPORT_TEST_LOGINS", "10000"))
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
