"""Who may ask what: gateways over TCP, trusted proxies, administrators by token and by socket."""
import http.client
import json
import os
import signal
import subprocess

import pytest

from conftest import wait_for

APIKEYS = "/rest/organizations/example/apikeys"


def ask(instance, path="/verify", method="GET", **headers):
    """Status and reason of a denial (or the problem's errorCode), over TCP."""
    connection = http.client.HTTPConnection(instance.env["SALLYPORT_HTTP_URL"].removeprefix("http://"), timeout=20)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.headers["Content-Type"] == "application/problem+json":
        return answer.status, json.loads(body)["errorCode"]
    return answer.status, answer.headers["X-Deny-Reason"]


def configure(instance, line):
    """The [http] section gets this line, or it is taken out; then the daemon reads its file again."""
    path = instance.dir / "sallyport.toml"
    text = path.read_text()
    path.write_text(text.replace(line + "\n", "") if line in text else text.replace("[http]\n", "[http]\n" + line + "\n"))
    os.kill(int(instance.env["SALLYPORTD_PID"]), signal.SIGHUP)


@pytest.fixture(scope="module")
def key(instance):
    return instance.json("key", "create", "anywhere", "--template", "ANONYMOUS_SEARCH")["value"]


@pytest.fixture(scope="module")
def tied(instance):
    """A key of 198.51.100.0/24."""
    return instance.json("key", "create", "tied", "--template", "ANONYMOUS_SEARCH", "--allow-ip", "198.51.100.0/24")["value"]


def test_over_tcp_a_gateway_needs_a_token_that_is_good(instance, key):
    assert ask(instance, X_API_Key=key) == (401, "not-a-gateway")
    assert ask(instance, X_API_Key=key, X_Gateway_Token="spgt_" + "0" * 64) == (401, "not-a-gateway")
    assert ask(instance, X_API_Key=key, X_Gateway_Token=instance.env["SALLYPORT_ADMIN_TOKEN"]) == (401, "not-a-gateway")
    token = instance.ctl("gateway-token", "create", "--label", "edge").strip()
    assert ask(instance, X_API_Key=key, X_Gateway_Token=token) == (200, None)
    assert ask(instance, X_Gateway_Token=token) == (401, "no-key")
    row = next(t for t in instance.items("gateway-token", "list") if t["label"] == "edge")
    assert token not in json.dumps(row)
    instance.ctl("gateway-token", "revoke", row["id"])
    assert ask(instance, X_API_Key=key, X_Gateway_Token=token) == (401, "not-a-gateway")


def test_a_gateway_token_does_not_make_a_proxy_trusted(instance, tied):
    token = instance.env["SALLYPORT_GATEWAY_TOKEN"]
    assert ask(instance, X_API_Key=tied, X_Gateway_Token=token, X_Forwarded_For="198.51.100.7") == (401, "address-not-allowed")


def test_trusted_proxies_are_believed_from_the_right_and_can_be_changed_by_a_reload(instance, key, tied):
    line = 'trusted_proxies = ["127.0.0.1", "203.0.113.0/24"]'
    configure(instance, line)
    wait_for("the proxy is trusted", lambda: ask(instance, X_API_Key=key) == (200, None))
    for forwarded, expected in (("198.51.100.7", (200, None)), ("198.51.100.7, 203.0.113.9", (200, None)),
                                ("198.51.100.7, 192.0.2.1", (401, "address-not-allowed")),
                                ("192.0.2.1, 198.51.100.7", (200, None)), ("198.51.100.7, nonsense", (401, "address-unknown")),
                                ("203.0.113.9", (401, "address-unknown"))):
        assert ask(instance, X_API_Key=tied, X_Forwarded_For=forwarded) == expected, forwarded
    assert ask(instance, X_API_Key=tied) == (401, "address-unknown")
    configure(instance, line)
    wait_for("it is trusted no more", lambda: ask(instance, X_API_Key=key) == (401, "not-a-gateway"))


def test_restricted_domains_can_be_changed_by_a_reload(instance):
    value = instance.json("key", "create", "suite", "--template", "INTEGRATION", "--contact-first-name", "A", "--contact-last-name", "B",
                          "--contact-login", "suite", "--contact-email", "suite@example.com")["value"]
    assert [instance.verify(value, "/verify?require=" + r) for r in ("invoice:create", "SIM:read")] == [200, 403]
    path = instance.dir / "sallyport.toml"
    before = path.read_text()
    path.write_text(before + '\n[keys]\nrestricted_domains = ["invoice"]\n')
    os.kill(int(instance.env["SALLYPORTD_PID"]), signal.SIGHUP)
    wait_for("the new domains are in force", lambda: instance.verify(value, "/verify?require=invoice:create") == 403)
    wait_for("the old ones are not", lambda: instance.verify(value, "/verify?require=SIM:read") == 200)
    path.write_text(before)
    os.kill(int(instance.env["SALLYPORTD_PID"]), signal.SIGHUP)
    wait_for("as before", lambda: instance.verify(value, "/verify?require=invoice:create") == 200)


def test_access_tokens_end_at_once_when_anything_behind_them_does(instance):
    def bearer(token):
        return ask(instance, APIKEYS, Authorization="Bearer " + token)

    assert bearer("spat_" + "0" * 64) == (401, "UNAUTHENTICATED") or bearer("spat_" + "0" * 64)[0] == 401
    assert ask(instance, APIKEYS)[0] == 401
    assert bearer(instance.env["SALLYPORT_GATEWAY_TOKEN"])[0] == 401, "a gateway is no administrator"

    instance.ctl("admin", "create", "second@example.org")
    made = {label: instance.ctl("admin", "token", "create", "second@example.org", "--label", label).strip() for label in ("one", "two")}
    assert [bearer(t)[0] for t in made.values()] == [200, 200]
    row = next(t for t in instance.items("admin", "token", "list") if t["label"] == "one")
    instance.ctl("admin", "token", "revoke", row["id"])
    assert [bearer(t)[0] for t in made.values()] == [401, 200]
    instance.ctl("admin", "group", "put", "Viewers", "--privilege", "PLATFORM/API_KEY/VIEW")
    instance.ctl("admin", "set-groups", "second@example.org", "Viewers")
    assert bearer(made["two"])[0] == 200
    assert ask(instance, APIKEYS + "/disable/bulk", "PUT", Authorization="Bearer " + made["two"])[0] == 403
    instance.ctl("admin", "disable", "second@example.org")
    assert bearer(made["two"])[0] == 401
    instance.ctl("admin", "enable", "second@example.org")
    assert bearer(made["two"])[0] == 200

    short = instance.ctl("admin", "token", "create", "second@example.org", "--label", "short", "--lifetime", "P1D").strip()
    assert bearer(short)[0] == 200
    instance.advance("3d")
    assert bearer(short)[0] == 401


def as_nobody(instance, socket, path, *more):
    result = subprocess.run(["setpriv", "--reuid=65534", *more, "curl", "-s", "-w", "\n%{http_code}", "--unix-socket", socket,
                             f"http://localhost{path}"], text=True, capture_output=True, check=False)
    return result.stdout.rpartition("\n")[2], result.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_the_admin_socket_is_for_root_and_its_group(make_instance):
    instance = make_instance("--option", 'http.admin_group="nogroup"')
    socket = instance.env["SALLYPORT_ADMIN_SOCKET"]
    assert oct(os.stat(socket).st_mode)[-3:] == "660" and os.stat(socket).st_gid == 65534
    # The directory is nobody's business; here it is the peer credentials that have to do it.
    for directory in (instance.dir, instance.dir / "run"):
        directory.chmod(0o711)
    os.chmod(socket, 0o666)
    code, text = as_nobody(instance, socket, "/admin/status", "--regid=1", "--clear-groups")
    assert code == "403" and "NOT_AN_ADMINISTRATOR" in text and "nogroup" in text
    code, text = as_nobody(instance, socket, APIKEYS, "--regid=1", "--clear-groups")
    assert code == "403"
    assert as_nobody(instance, socket, "/admin/status", "--regid=65534", "--clear-groups")[0] == "200"
    assert as_nobody(instance, socket, "/admin/status", "--regid=1", "--groups=65534")[0] == "200"


def test_the_verify_socket_serves_verification_only(instance, key):
    assert instance.verify(key) == 200
    assert instance.verify(key, "/verify/orders/7?require=SEARCH_API/EXECUTE_QUERY") == 200
    for path in ("/admin/status", APIKEYS, "/openapi.json", "/verifyx"):
        assert instance.verify(key, path) == 404, path


def test_admin_routes_are_not_there_over_tcp(instance):
    token = instance.env["SALLYPORT_ADMIN_TOKEN"]
    assert ask(instance, "/admin/status", Authorization="Bearer " + token)[0] == 404
    assert ask(instance, "/rest/organizations/other/apikeys", Authorization="Bearer " + token)[0] == 404
