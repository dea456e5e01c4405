"""nginx with auth_request in front of a small service, set up as docs/gateways.md says."""
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from conftest import TESTS, free_port, wait_for

PRIVILEGE = "ORDERS_API/ORDERS/VIEW"


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers with the header it was sent."""
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass


def documented_server():
    text = (TESTS.parent / "docs" / "gateways.md").read_text()
    return re.search(r"```nginx\n(.*?)```", text, re.S).group(1)


def replaced(text, old, new):
    assert old in text, f"docs/gateways.md does not say {old} any more"
    return text.replace(old, new)


class Nginx:
    def __init__(self, directory, instance, over_tcp):
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        assert program, "install nginx"
        self.service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
        threading.Thread(target=self.service.serve_forever, daemon=True).start()
        self.port = free_port()
        self.log = directory / "keys.log"
        env = instance.env
        server = documented_server()
        server = replaced(server, "127.0.0.1:8080", f"127.0.0.1:{self.port}")
        server = replaced(server, "127.0.0.1:8081", f"127.0.0.1:{self.service.server_port}")
        server = replaced(server, "/var/log/nginx/keys.log", str(self.log))
        if over_tcp:
            server = replaced(server, "unix:/run/sallyport/verify.sock", env["SALLYPORT_HTTP_URL"].removeprefix("http://"))
            server = replaced(server, "internal;", f"internal;\n proxy_set_header X-Gateway-Token {env['SALLYPORT_GATEWAY_TOKEN']};")
        else:
            server = replaced(server, "/run/sallyport/verify.sock", env["SALLYPORT_VERIFY_SOCKET"])
        # As root its workers would become another user, whom the throw-away directory is closed to.
        user = "user root root;" if os.getuid() == 0 else ""
        paths = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = directory / "nginx.conf"
        config.write_text(f"{user} daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 1;"
                          f"events {{ }}\nhttp {{ {paths}\n{server}\n}}\n")
        self.process = subprocess.Popen([program, "-p", directory, "-c", config, "-e", directory / "error.log"],
                                        stderr=subprocess.PIPE, text=True)
        wait_for("nginx listens", self.listens)

    def listens(self):
        assert self.process.poll() is None, self.process.stderr.read()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(self, method="GET", path="/orders/7", body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, (json.loads(text) if answer.status == 200 else text), answer.headers

    def status(self, **headers):
        return self.ask(**headers)[0]

    def logged(self, *words):
        """The log is written after the answer."""
        wait_for(f"the log says {words}", lambda: all(word in self.log.read_text().splitlines()[-1] for word in words))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.service.shutdown()


@pytest.fixture(scope="module", params=["verify.sock", "tcp"])
def nginx(request, instance, tmp_path_factory):
    made = Nginx(tmp_path_factory.mktemp("nginx"), instance, request.param == "tcp")
    yield made
    made.stop()


def make_key(instance, name="Bestellung für Zürich", *options):
    return instance.json("key", "create", name, "--template", "CUSTOM", "--privilege", PRIVILEGE, *options)


def test_a_good_key_is_admitted_and_the_service_learns_whose_it_is(nginx, instance):
    key = make_key(instance)
    for headers in ({"X_API_Key": key["value"]}, {"X_COUPA_API_KEY": key["value"]}, {"Authorization": "Bearer " + key["value"]}):
        status, seen, _ = nginx.ask(**headers, X_Key_Id="spoofed", X_Key_Contact="spoofed")
        assert status == 200
        assert seen["x-key-id"] == key["id"] and "x-key-contact" not in seen and "x-api-key" not in seen
        assert seen["x-key-name"] == "Bestellung f%C3%BCr Z%C3%BCrich"
    status, seen, _ = nginx.ask("POST", body=b"x" * 100_000, X_API_Key=key["value"])
    assert status == 200 and seen["content-length"] == "100000"


def test_an_integration_key_is_known_and_lacks_the_privilege(nginx, instance):
    made = instance.json("key", "create", f"suite {nginx.port}", "--template", "INTEGRATION", "--contact-first-name", "Ana",
                         "--contact-last-name", "Núñez", "--contact-login", f"ana{nginx.port}",
                         "--contact-email", f"ana{nginx.port}@example.com")
    # Its permissions are pairs of object and action, not this privilege: it is known, and refused.
    assert nginx.status(X_API_Key=made["value"]) == 403
    nginx.logged(" 403 ", f"key={made['id']}", "denied=missing-privilege")


def test_what_is_no_good_key_is_refused_and_the_log_says_why(nginx, instance):
    cases = {"no-key": {}, "unknown-key": {"X_API_Key": "0" * 40},
             "two-keys": {"X_API_Key": "0" * 40, "Authorization": "Bearer " + "1" * 40}}
    for reason, headers in cases.items():
        status, _, answer = nginx.ask(**headers)
        assert status == 401 and "Bearer" in answer["WWW-Authenticate"]
        assert answer["X-Deny-Reason"] is None, "the client learns nothing more"
        nginx.logged(f"denied={reason}")
    weak = instance.json("key", "create", "weak", "--template", "CUSTOM", "--privilege", "ORDERS_API/OTHER/EDIT")
    assert nginx.status(X_API_Key=weak["value"]) == 403


def test_a_revoked_key_is_refused_on_the_next_request(nginx, instance):
    key = make_key(instance, "compromised")
    assert nginx.status(X_API_Key=key["value"]) == 200
    instance.ctl("key", "revoke", key["id"], "--yes")
    assert nginx.status(X_API_Key=key["value"]) == 401
    nginx.logged("denied=revoked")


def test_a_regenerated_key_is_good_with_the_new_value_only(nginx, instance):
    key = make_key(instance, "rotated")
    new = instance.json("key", "regenerate", key["id"])["value"]
    assert (nginx.status(X_API_Key=key["value"]), nginx.status(X_API_Key=new)) == (401, 200)


def test_a_key_of_other_addresses_is_refused_whatever_the_client_claims(nginx, instance):
    elsewhere = make_key(instance, "elsewhere", "--allow-ip", "198.51.100.0/24")
    assert nginx.status(X_API_Key=elsewhere["value"]) == 401
    assert nginx.status(X_API_Key=elsewhere["value"], X_Forwarded_For="198.51.100.7") == 401
    nginx.logged("denied=address-not-allowed")


def test_nothing_is_let_through_while_the_daemon_is_down(nginx, instance):
    key = make_key(instance, "steady")
    assert nginx.status(X_API_Key=key["value"]) == 200
    instance.stop("daemon")
    assert nginx.status(X_API_Key=key["value"]) == 500
    instance.restart()
    wait_for("nginx tries the daemon again", lambda: nginx.status(X_API_Key=key["value"]) == 200, 30)
