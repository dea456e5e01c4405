"""The TCP listener with a certificate: which TLS it speaks, reloading it, and gateways that prove who they are by one."""
import http.client
import os
import signal
import ssl
import subprocess
import warnings

import pytest

from conftest import wait_for


class Authority:
    def __init__(self, directory, name):
        self.directory, self.name = directory, name
        self.certificate = directory / f"{name}.pem"
        self.key = directory / f"{name}.key"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
                     "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)

    def openssl(self, *args):
        subprocess.run(["openssl", *[str(a) for a in args]], check=True, capture_output=True)

    def issue(self, name, subject):
        """A certificate and its key, under fixed names: issuing again replaces them."""
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        request, names = self.directory / "request", self.directory / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
                     "-keyout", key, "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                     "-days", "365", "-extfile", names, "-out", certificate)
        return certificate, key


class Listener:
    def __init__(self, instance, directory):
        self.instance = instance
        self.authority = Authority(directory, "authority")
        self.gateways = Authority(directory, "gateways")
        self.certificate, self.key = self.authority.issue("server", "/CN=localhost/O=first")
        self.port = int(instance.env["SALLYPORT_HTTP_URL"].rpartition(":")[2])
        text = (instance.dir / "sallyport.toml").read_text()
        added = (f'certificate_file = "{self.certificate}"\nprivate_key_file = "{self.key}"\n'
                 f'client_ca_file = "{self.gateways.certificate}"\n')
        (instance.dir / "sallyport.toml").write_text(text.replace("[http]\n", "[http]\n" + added))
        instance.stop("daemon")
        instance.restart()

    def context(self, least=ssl.TLSVersion.TLSv1_2, most=ssl.TLSVersion.TLSv1_3, client=None):
        context = ssl.create_default_context(cafile=self.authority.certificate)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if most < ssl.TLSVersion.TLSv1_2:
                context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version, context.maximum_version = least, most
        if client:
            context.load_cert_chain(*client)
        return context

    def connect(self, **options):
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.context(**options), timeout=20)
        connection.connect()
        return connection

    def served(self):
        """The organisation in the certificate that a new connection is shown."""
        connection = self.connect()
        subject = dict(part[0] for part in connection.sock.getpeercert()["subject"])
        connection.close()
        return subject["organizationName"]

    def ask(self, connection, path="/verify", **headers):
        connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["X-Deny-Reason"]

    def reload(self):
        os.kill(int(self.instance.env["SALLYPORTD_PID"]), signal.SIGHUP)


@pytest.fixture(scope="module")
def listener(instance, tmp_path_factory):
    return Listener(instance, tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def key(instance):
    return instance.json("key", "create", "tls", "--template", "ANONYMOUS_SEARCH")["value"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(listener, version):
    connection = listener.connect(least=version, most=version)
    assert connection.sock.version() == version.name.replace("_", ".")
    assert "ECDHE" in connection.sock.cipher()[0] or version == ssl.TLSVersion.TLSv1_3
    assert listener.ask(connection, "/openapi.json")[0] == 200
    connection.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_ones_are_refused(listener, version):
    with pytest.raises((ssl.SSLError, ConnectionError)) as caught:
        listener.connect(least=version, most=version)
    assert "no protocols available" not in str(caught.value).lower(), "the client itself would not"


def test_plain_http_gets_no_answer(listener):
    plain = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=20)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        plain.request("GET", "/openapi.json")
        plain.getresponse()


def test_a_gateway_may_prove_itself_by_a_certificate(listener, key):
    assert listener.ask(listener.connect(), X_API_Key=key) == (401, "not-a-gateway")
    gateway = listener.gateways.issue("edge", "/CN=edge gateway")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        connection = listener.connect(client=gateway, most=version)
        assert listener.ask(connection, X_API_Key=key) == (200, None)
        # It is a gateway, and nothing else.
        assert listener.ask(connection, "/rest/organizations/example/apikeys")[0] == 401
        connection.close()
    token = listener.instance.env["SALLYPORT_GATEWAY_TOKEN"]
    assert listener.ask(listener.connect(), X_API_Key=key, X_Gateway_Token=token) == (200, None)


def test_a_certificate_of_somebody_else_is_refused(listener, key):
    stranger = listener.authority.issue("stranger", "/CN=stranger")  # the server's own authority is none for gateways
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        listener.ask(listener.connect(client=stranger), X_API_Key=key)


def test_a_new_certificate_is_taken_up_by_a_reload(listener, key, instance):
    token = instance.env["SALLYPORT_GATEWAY_TOKEN"]
    old = listener.connect()
    assert listener.served() == "first"
    listener.authority.issue("server", "/CN=localhost/O=second")
    assert listener.served() == "first"
    listener.reload()
    wait_for("the new certificate is served", lambda: listener.served() == "second")
    assert listener.ask(old, X_API_Key=key, X_Gateway_Token=token) == (200, None)

    good = listener.certificate.read_bytes()
    listener.certificate.write_text("this is no certificate\n")
    listener.reload()
    wait_for("health says so", lambda: "http.certificate" in str(instance.json("status")["health"]))
    assert listener.served() == "second"
    listener.certificate.write_bytes(good)
    listener.reload()
    wait_for("health is well", lambda: "http.certificate" not in str(instance.json("status")["health"]))
    assert listener.served() == "second"
