"""The management API, verification and the clock of an instance, for the tests of keys.

Straight HTTP over the instance's sockets: a test of keys makes thousands of calls.
"""
import dataclasses
import datetime
import email
import email.policy
import http.client
import json
import pathlib
import re
import socket
import urllib.parse

DAY = 86400


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=300)
        self.unix_path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.unix_path)


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json["errorCode"]


class Kept:
    """A connection that is kept from request to request, and made anew if it was closed meanwhile."""

    def __init__(self, connect):
        self.connect, self.connection = connect, None

    def ask(self, method, path, body, headers):
        if self.connection is not None:
            try:
                return self.exchange(method, path, body, headers)
            except (http.client.HTTPException, OSError):
                pass
        self.connection = self.connect()
        return self.exchange(method, path, body, headers)

    def exchange(self, method, path, body, headers):
        try:
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except (http.client.HTTPException, OSError):
            self.drop()
            raise

    def drop(self):
        self.connection = None


class Api:
    """One caller. `token` is an administrator's; without one it is root on admin.sock."""

    def __init__(self, instance, token=None):
        self.env = instance.env
        self.token = token
        self.org = f"/rest/organizations/{self.env['SALLYPORT_ORG']}"
        self.kept = Kept(self.open)

    def open(self):
        if self.token is None:
            return UnixConnection(self.env["SALLYPORT_ADMIN_SOCKET"])
        address = urllib.parse.urlsplit(self.env["SALLYPORT_HTTP_URL"])
        return http.client.HTTPConnection(address.hostname, address.port, timeout=300)

    def send(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if body is not None:
            headers["Content-Type"] = "application/json"
        return self.kept.ask(method, path, body, headers)

    def call(self, method, path, body=None, expect=(200, 201, 204)):
        answer = self.send(method, path if path.startswith("/admin") or path.startswith("/rest") else self.org + path, body)
        expected = (expect,) if isinstance(expect, int) else expect
        assert answer.status in expected, f"{method} {path}: {answer.status} {answer.body[:600]!r}"
        if answer.status >= 400:
            problem = answer.json
            assert answer.headers["content-type"].startswith("application/problem+json"), answer
            assert {"title", "status", "detail", "errorCode"} <= set(problem) and problem["status"] == answer.status, problem
        assert answer.headers.get("x-request-id"), answer.headers
        return answer

    def get(self, path, **more):
        return self.call("GET", path, **more).json

    def post(self, path, body=None, **more):
        return self.call("POST", path, body, **more)

    def put(self, path, body=None, **more):
        return self.call("PUT", path, body, **more)

    def delete(self, path, **more):
        return self.call("DELETE", path, **more)

    # ------------------------------------------------------------------ keys
    def create(self, template, **fields):
        fields.setdefault("displayName", "a key")
        return self.post(f"/apikeys?apiKeyTemplateId={template}", fields, expect=201).json

    def custom(self, **fields):
        fields.setdefault("privileges", [{"owner": "PLATFORM", "targetDomain": "SOURCE", "type": "VIEW", "targetId": "*"}])
        return self.create("CUSTOM", **fields)

    def refused(self, status, code, method, path, body=None):
        answer = self.call(method, path, body, expect=status)
        assert answer.code == code, answer.body
        assert answer.json["detail"].rstrip().endswith((".", "?")), answer.json
        return answer.json

    def key(self, key):
        return self.get(f"/apikeys/{key['id']}")

    def status(self, key):
        return self.key(key)["status"]

    # ------------------------------------------------------------------ time
    def now(self):
        return self.get("/admin/clock")["now"]

    def advance(self, seconds):
        answer = self.post("/admin/clock/advance", {"by": f"{int(seconds)}s"}).json
        assert answer["done"], answer
        return answer

    # ------------------------------------------------------------------ the ledger
    def notices(self, subject=None):
        """All rows, oldest first."""
        found, after = [], ""
        while True:
            query = {"limit": 1000} | ({"subject": subject} if subject else {}) | ({"after": after} if after else {})
            page = self.get("/notices?" + urllib.parse.urlencode(query))
            found += page["items"]
            after = page["next"]
            if not after:
                return found[::-1]


class Gateway:
    """What an API gateway sees over verify.sock."""

    def __init__(self, instance):
        path = instance.env["SALLYPORT_VERIFY_SOCKET"]
        self.kept = Kept(lambda: UnixConnection(path))

    def ask(self, value, query="", **headers):
        all_headers = {"X-API-Key": value} if value is not None else {}
        all_headers |= {name.replace("_", "-"): text for name, text in headers.items()}
        return self.kept.ask("GET", f"/verify{query}", None, all_headers)

    def status(self, key, **more):
        return self.ask(key["value"], **more).status


def instant(text):
    """The daemon's own texts of instants, as seconds."""
    if isinstance(text, int):
        return text // 1000
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def end_of_day(seconds):
    return (seconds // DAY + 1) * DAY


class Mails:
    """The sink, mail by mail as they come; take() gives those that are new."""

    def __init__(self, instance):
        self.instance = instance
        self.seen = 0
        self.take()

    def take(self):
        directory = pathlib.Path(self.instance.env["MAIL_DIR"])
        new = []
        for number in sorted(int(p.stem) for p in directory.glob("*.eml")):
            if number <= self.seen:
                continue
            new.append(email.message_from_bytes((directory / f"{number}.eml").read_bytes(), policy=email.policy.default))
            self.seen = number
        return new


def texts(mail):
    """The plain and the HTML text of a mail."""
    return mail.get_body(("plain",)).get_content(), mail.get_body(("html",)).get_content()


def visible(html):
    return re.sub(r"<[^>]*>", "", html)
