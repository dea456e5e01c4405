"""An SSH client that sends what it is told to, message by message, in any order, and the SFTP requests above it.

The key exchange (the first and every later one) is paramiko's; from there on every message is made here, so that a
test can say what no client would."""
import collections
import os
import queue
import socket
import threading
import time

import paramiko

DISCONNECT, UNIMPLEMENTED, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = 1, 3, 5, 6, 7
USERAUTH_REQUEST, USERAUTH_FAILURE, USERAUTH_SUCCESS, USERAUTH_BANNER, USERAUTH_PK_OK = 50, 51, 52, 53, 60
GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 80, 81, 82
CHANNEL_OPEN, CHANNEL_OPEN_CONFIRMATION, CHANNEL_OPEN_FAILURE = 90, 91, 92
CHANNEL_WINDOW_ADJUST, CHANNEL_DATA, CHANNEL_EXTENDED_DATA, CHANNEL_EOF, CHANNEL_CLOSE = 93, 94, 95, 96, 97
CHANNEL_REQUEST, CHANNEL_SUCCESS, CHANNEL_FAILURE = 98, 99, 100

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, \
    STAT, RENAME, READLINK, SYMLINK = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED, EXTENDED_REPLY = 101, 102, 103, 104, 105, 200, 201
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8
F_READ, F_WRITE, F_APPEND, F_CREAT, F_TRUNC, F_EXCL = 1, 2, 4, 8, 16, 32

WINDOW = 2**31 - 1


class Gone(Exception):
    """The server has ended the connection; `said` is its reason, if it gave one."""

    def __init__(self, said=""):
        super().__init__(said or "without a word")
        self.said = said


class Raw(bytes):
    """Bytes that go out as they are, without a length before them."""


class U64(int):
    pass


def packed(*parts):
    """int: uint32, U64: uint64, bool: byte, str and bytes: string, Raw: itself."""
    out = b""
    for part in parts:
        if isinstance(part, bool):
            out += bytes([part])
        elif isinstance(part, U64):
            out += int(part).to_bytes(8, "big")
        elif isinstance(part, int):
            out += part.to_bytes(4, "big")
        elif isinstance(part, Raw):
            out += part
        else:
            part = part.encode() if isinstance(part, str) else part
            out += len(part).to_bytes(4, "big") + part
    return out


class Channel:
    def __init__(self):
        self.data = bytearray()
        self.eof = self.closed = False
        self.remote = None
        self.room = 0
        self.exit_status = None


class Wire:
    def __init__(self, instance, source=None, timeout=20, ciphers=None):
        self.instance = instance
        address = (instance.env["SFTP_HOST"], int(instance.env["SFTP_PORT"]))
        self.socket = socket.create_connection(address, timeout, source_address=(source, 0) if source else None)
        self.transport = paramiko.Transport(self.socket)
        if ciphers:
            self.transport.get_security_options().ciphers = ciphers
        self.timeout = timeout
        self.inbox = queue.Queue()
        self.said = ""
        self.others = collections.deque()
        self.channels = {}
        self.raw = False
        self.reads = threading.Event()  # cleared: what comes stays in the socket
        self.reads.set()
        self._read = self.transport.packetizer.read_message
        self.transport.packetizer.read_message = self._filtered
        self.transport.start_client(timeout=timeout)
        self.raw = True

    # What is not about keys is the test's, and paramiko never sees it.
    def _filtered(self):
        while True:
            self.reads.wait()
            try:
                kind, message = self._read()
            except (EOFError, OSError, paramiko.SSHException):
                self.inbox.put((None, None, time.perf_counter()))
                raise
            if kind == DISCONNECT:
                copy = paramiko.Message(message.asbytes())
                copy.get_int()
                self.said = copy.get_text()
                self.inbox.put((None, None, time.perf_counter()))
            if not self.raw or kind in (DISCONNECT, 2, 4, 20, 21) or 30 <= kind < 50:
                return kind, message
            if kind == EXT_INFO:
                continue
            self.inbox.put((kind, message, time.perf_counter()))

    def send(self, kind, *parts):
        message = paramiko.Message()
        message.add_bytes(bytes([kind]) + packed(*parts))
        self.sent = time.perf_counter()
        try:
            self.transport._send_user_message(message)  # which waits while keys are exchanged
        except (EOFError, OSError):
            pass  # what it said last is still to be read

    def _take(self, end):
        try:
            kind, message, when = self.inbox.get(timeout=max(end - time.monotonic(), 0.001))
        except queue.Empty:
            raise AssertionError("the server did not answer in time") from None
        self.when = when
        if kind is None:
            self.inbox.put((None, None, when))
            raise Gone(self.said)
        if kind in (CHANNEL_WINDOW_ADJUST, CHANNEL_DATA, CHANNEL_EOF, CHANNEL_CLOSE, CHANNEL_REQUEST):
            channel = self.channels[message.get_int()]
            if kind == CHANNEL_WINDOW_ADJUST:
                channel.room += message.get_int()
            elif kind == CHANNEL_DATA:
                channel.data += message.get_string()
            elif kind == CHANNEL_EOF:
                channel.eof = True
            elif kind == CHANNEL_CLOSE:
                channel.closed = True
            elif message.get_text() == "exit-status":
                message.get_boolean()
                channel.exit_status = message.get_int()
            return
        self.others.append((kind, message))

    def wait(self, ready, seconds=None):
        """Takes messages in until `ready()` gives something; Gone if the connection ends before."""
        end = time.monotonic() + (seconds or self.timeout)
        while not (result := ready()):
            self._take(end)
        return result

    def next(self, seconds=None):
        """The next message that is not about an open channel's data."""
        return self.wait(lambda: self.others.popleft() if self.others else None, seconds)

    def ended(self, seconds=None):
        """The server's reason, once it has ended the connection. What else it says before is dropped."""
        try:
            self.wait(lambda: False, seconds)
        except Gone as gone:
            return gone.said or "without a word"
        return ""

    # ------------------------------------------------------------------ login
    def service(self, name="ssh-userauth"):
        self.send(SERVICE_REQUEST, name)
        kind, _ = self.next()
        assert kind == SERVICE_ACCEPT, kind
        return self

    def signature(self, user, key, algorithm, service="ssh-connection", session=None):
        signed = packed(session or self.transport.session_id, Raw([USERAUTH_REQUEST]), user, service, "publickey", True, algorithm, key.asbytes())
        return key.sign_ssh_data(signed, algorithm).asbytes()

    def offer(self, user, key, sign=True, **more):
        """A login with a key, or only the question whether it would do. The kind of the answer."""
        algorithm = "rsa-sha2-256" if key.get_name() == "ssh-rsa" else key.get_name()
        parts = [user, "ssh-connection", "publickey", sign, algorithm, key.asbytes()]
        if sign:
            parts.append(self.signature(user, key, algorithm, **more))
        self.send(USERAUTH_REQUEST, *parts)
        return self.answer()

    def password(self, user, password):
        self.send(USERAUTH_REQUEST, user, "ssh-connection", "password", False, password)
        return self.answer()

    def answer(self):
        kind, message = self.next()
        while kind == USERAUTH_BANNER:
            kind, message = self.next()
        self.methods = message.get_text() if kind == USERAUTH_FAILURE else ""
        return kind

    def login(self, user=None, key=None):
        env = self.instance.env
        self.service()
        kind = self.offer(user or env["SFTP_USER"], key or paramiko.RSAKey.from_private_key_file(env["SFTP_KEY"]))
        assert kind == USERAUTH_SUCCESS, kind
        return self

    # ------------------------------------------------------------------ channels
    def open_channel(self, kind="session", *more, window=WINDOW, largest=32768):
        """(its number, "") or (None, why not)."""
        number = len(self.channels)
        self.channels[number] = Channel()
        self.send(CHANNEL_OPEN, kind, number, window, largest, *more)
        answer, message = self.next()
        assert message.get_int() == number
        if answer == CHANNEL_OPEN_FAILURE:
            return None, message.get_int()
        assert answer == CHANNEL_OPEN_CONFIRMATION, answer
        self.channels[number].remote = message.get_int()
        self.channels[number].room = message.get_int()
        return number, ""

    def request(self, channel, name, *more):
        """True if the server did what was asked for."""
        self.send(CHANNEL_REQUEST, self.channels[channel].remote, name, True, *more)
        kind, _ = self.next()
        assert kind in (CHANNEL_SUCCESS, CHANNEL_FAILURE), kind
        return kind == CHANNEL_SUCCESS

    def data(self, channel, content):
        """As much as the server's window takes, piece by piece."""
        state = self.channels[channel]
        at = 0
        while at < len(content):
            self.wait(lambda: state.room > 0 or state.closed)
            if state.closed:
                return
            piece = content[at:at + min(32768, state.room)]
            self.send(CHANNEL_DATA, state.remote, piece)
            state.room -= len(piece)
            at += len(piece)

    def sftp(self, **more):
        return Sftp(self, **more)

    def close(self):
        self.reads.set()
        self.transport.close()
        self.socket.close()


class Status(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Sftp:
    """SFTP requests on a channel of their own. Requests that the server refuses raise Status."""

    def __init__(self, wire, init=True, window=WINDOW):
        self.wire = wire
        self.number, why = wire.open_channel(window=window)
        assert self.number is not None, why
        self.channel = wire.channels[self.number]
        assert wire.request(self.number, "subsystem", "sftp")
        self.id = 0
        if init:
            self.raw(packed(5, Raw([INIT]), 3))
            kind, _ = self.reply()
            assert kind == VERSION

    def raw(self, content):
        self.wire.data(self.number, content)

    def send(self, kind, *parts):
        self.id += 1
        body = Raw([kind]) + packed(self.id, *parts)
        self.raw(packed(bytes(body)))
        return self.id

    def reply(self, seconds=None):
        """(kind, what follows it); None once the server has closed the channel."""
        data = self.channel.data
        whole = lambda: len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[:4], "big")
        self.wire.wait(lambda: whole() or self.channel.closed, seconds)
        if not whole():
            return None
        length = int.from_bytes(data[:4], "big")
        kind, rest = data[4], bytes(data[5:4 + length])
        del data[:4 + length]
        return kind, paramiko.Message(rest)

    def ask(self, kind, *parts, seconds=None):
        wanted = self.send(kind, *parts)
        got = self.reply(seconds)
        if got is None:
            raise Gone("the channel was closed")
        answer, message = got
        assert message.get_int() == wanted
        if answer == STATUS:
            code = message.get_int()
            if code != OK:
                raise Status(code, message.get_text())
        return answer, message

    def code(self, kind, *parts):
        """The code of the answer to a request; None if it is no status."""
        try:
            return OK if self.ask(kind, *parts)[0] == STATUS else None
        except Status as status:
            return status.code

    def open(self, path, flags=F_READ):
        kind, message = self.ask(OPEN, path, flags, 0)
        assert kind == HANDLE
        return message.get_binary()

    def opendir(self, path):
        return self.ask(OPENDIR, path)[1].get_binary()

    def close(self, handle):
        self.ask(CLOSE, handle)

    def read(self, handle, offset=0, count=32768):
        return self.ask(READ, handle, U64(offset), count)[1].get_binary()

    def write(self, handle, offset, content):
        self.ask(WRITE, handle, U64(offset), content)

    def put(self, path, content):
        handle = self.open(path, F_WRITE | F_CREAT | F_TRUNC)
        for at in range(0, len(content), 32768):
            self.write(handle, at, content[at:at + 32768])
        self.close(handle)

    def get(self, path):
        handle = self.open(path)
        content = bytearray()
        while True:
            try:
                content += self.read(handle, len(content))
            except Status as status:
                assert status.code == EOF, status
                break
        self.close(handle)
        return bytes(content)

    def list(self, path):
        handle = self.opendir(path)
        names = []
        while True:
            try:
                _, message = self.ask(READDIR, handle)
            except Status as status:
                assert status.code == EOF, status
                break
            for _ in range(message.get_int()):
                names.append(message.get_binary().decode())
                message.get_binary()
                skip_attributes(message)
        self.close(handle)
        return sorted(n for n in names if n not in (".", ".."))


def skip_attributes(message):
    """The (size, permissions) of an attribute block."""
    flags = message.get_int()
    size = message.get_int64() if flags & 1 else None
    if flags & 2:
        message.get_int64()
    mode = message.get_int() if flags & 4 else None
    if flags & 8:
        message.get_int64()
    return size, mode


def children(pid):
    """The processes that `pid` has started and that are not zombies."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(pid) and fields[0] != "Z":
            found.append(int(entry))
    return found


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def request(kind, number, *parts):
    return packed(bytes(Raw([kind]) + packed(number, *parts)))


def timed_session(instance, source=None):
    """Seconds from the first packet to a listing."""
    start = time.monotonic()
    wire = Wire(instance, source=source).login()
    assert wire.sftp().list("/")
    taken = time.monotonic() - start
    wire.close()
    return taken
