"""/openapi.json against the running daemon: every documented operation answers as it is documented."""
import base64
import hashlib
import http.client
import json
import pathlib
import re
import subprocess
import urllib.parse

import jsonschema
import pytest

from conftest import Instance

ORG = "/rest/organizations/{org}"


class Api:
    def __init__(self, instance):
        self.instance = instance
        self.env = instance.env
        self.address = self.env["SALLYPORT_HTTP_URL"].removeprefix("http://")
        self.document = json.loads(self.request("GET", "/openapi.json", token=None)[2])
        self.operations = {(method.upper(), path): operation for path, item in self.document["paths"].items()
                           for method, operation in item.items()}

    def request(self, method, path, body=None, token="", headers=()):
        """Status, header and body. `path` may hold {org}. Token: "" the administrator's, None none."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        sent = dict(headers)
        if token is not None:
            sent["Authorization"] = "Bearer " + (token or self.env["SALLYPORT_ADMIN_TOKEN"])
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, path.replace("{org}", self.env["SALLYPORT_ORG"]), body=body, headers=sent)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers, content

    def resolve(self, schema):
        return {**schema, "components": self.document["components"]}

    def check(self, method, path, status, header, content):
        """The answer's status, content type and body are those of the document."""
        responses = self.operations[method, path]["responses"]
        assert str(status) in responses, f"{method} {path}: {status} is not documented, only {list(responses)}: {content[:300]}"
        documented = responses[str(status)].get("content", {})
        media = (header["Content-Type"] or "").partition(";")[0]
        if not documented:
            assert content == b"" or status == 200, f"{method} {path}: {status} {content[:100]}"
            return None
        assert media in documented, f"{method} {path}: {status} is {media}, not {list(documented)}"
        value = json.loads(content)
        schema = documented[media]["schema"]
        jsonschema.Draft202012Validator(self.resolve(schema)).validate(value)
        self.nothing_undocumented(f"{method} {path} {status}", schema, value)
        return value

    def nothing_undocumented(self, where, schema, value):
        if "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if isinstance(value, list):
            for item in value:
                self.nothing_undocumented(where, schema.get("items", {}), item)
        if isinstance(value, dict) and "properties" in schema and schema.get("additionalProperties") is not True:
            unknown = set(value) - set(schema["properties"])
            assert not unknown, f"{where} answers {unknown}, which the document does not name"
            for name, member in value.items():
                self.nothing_undocumented(f"{where} .{name}", schema["properties"][name], member)

    def call(self, method, path, values=(), body=None, expected=None, query="", headers=(), token=""):
        """One documented operation with its path's values filled in."""
        real = path
        for name, value in dict(values).items():
            real = real.replace("{" + name + "}", urllib.parse.quote(value, safe=""))
        status, header, content = self.request(method, real + query, body, token, headers)
        assert expected is None or status == expected, f"{method} {real}: {status} {content[:500]}"
        self.called.add((method, path))
        return self.check(method, path, status, header, content)

    def partner_pgp(self):
        return subprocess.run(["gpg", "--homedir", self.env["PARTNER_PGP_HOME"], "--armor", "--export", self.env["PARTNER_PGP_FINGERPRINT"]],
                              check=True, capture_output=True, text=True).stdout

    called: set = set()

    def key(self, name, template="ANONYMOUS_SEARCH", **more):
        return self.call("POST", ORG + "/apikeys", (), {"displayName": name, **more}, 201, f"?apiKeyTemplateId={template}")


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    directory = tmp_path_factory.mktemp("github")
    pinned = directory / "keys.json"
    instance = Instance("--option", f'keys.github_keys_file="{pinned}"')
    made = Api(instance)
    made.github = directory
    made.pinned = pinned
    yield made
    instance.down()


def test_the_document_is_a_whole(api):
    text = json.dumps(api.document)
    assert api.document["openapi"].startswith("3.1")
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(api.document["components"]["schemas"]), "a reference leads nowhere"
    for name, schema in api.document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert "nullable" not in json.dumps(schema), f"{name}: nullable is of OpenAPI 3.0"
    identifiers = [operation["operationId"] for operation in api.operations.values()]
    assert len(identifiers) == len(set(identifiers))
    for (method, path), operation in api.operations.items():
        assert operation.get("summary"), f"{method} {path} says nothing"
        assert any(status.startswith("2") for status in operation["responses"]), f"{method} {path} never succeeds"
        in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
    assert "/admin" not in text.split('"components"')[0]


def asking_for_a_caller(api):
    """(method, path, path with values of nothing that exists, body) of every operation that needs one."""
    for (method, path), operation in api.operations.items():
        if operation["security"] == [{"accessToken": []}]:
            yield method, path, path.replace("{id}", "x" * 26).replace("{name}", "nobody"), {} if "requestBody" in operation else None


def test_without_a_caller_and_without_the_privilege(api):
    api.instance.ctl("admin", "group", "put", "Guests", "--privilege", "PLATFORM/NOTHING/VIEW")
    api.instance.ctl("admin", "create", "guest@example.org", "--group", "Guests")
    guest = api.instance.ctl("admin", "token", "create", "guest@example.org").strip()
    for method, path, filled, body in asking_for_a_caller(api):
        for token, where, expected in ((None, filled, 401), ("spat_" + "0" * 64, filled, 401), (guest, filled, 403),
                                       ("", filled.replace("{org}", "somebody-else"), 404)):
            status, header, content = api.request(method, where, body, token)
            assert status == expected, f"{method} {where}: {status}"
            api.check(method, path, status, header, content)


def test_unknown_resources_and_bodies_that_are_no_json(api):
    for method, path, filled, body in asking_for_a_caller(api):
        if "{id}" in path or "{name}" in path:
            public = pathlib.Path(api.env["SFTP_KEY"] + ".pub").read_text()
            some = {"severity": "LOW", "reason": "x", "displayName": "x", "password": "correct horse battery staple",
                    "key": api.partner_pgp() if path.endswith("pgp-keys") else public}
            status, header, content = api.request(method, filled + "?reason=x", some if method in ("POST", "PUT") else None)
            assert status == 404, f"{method} {path}: {status} {content}"
            api.check(method, path, status, header, content)
        if body is not None:
            for broken in ("{", '{"a":1,"a":2}', '"text"', "[" * 100 + "]" * 100):
                status, header, content = api.request(method, filled, broken, headers={"Content-Type": "application/json"})
                assert status in (400, 404), f"{method} {path} {broken[:20]}: {status} {content}"
                api.check(method, path, status, header, content)


def test_keys(api):
    key = api.key("reader", description="of pages")
    one = {"id": key["id"]}
    api.call("GET", ORG + "/apikeys", expected=200)
    api.call("GET", ORG + "/apikeys", query="?status=SLEEPING", expected=400)
    model = api.call("GET", ORG + "/apikeys/{id}", one, expected=200)
    api.call("PUT", ORG + "/apikeys/{id}", one, {**model, "displayName": "renamed"}, 200)
    api.call("PUT", ORG + "/apikeys/{id}", one, {**model, "privileges": []}, 409)
    api.call("POST", ORG + "/apikeys", (), {"displayName": ""}, 400, "?apiKeyTemplateId=CUSTOM")
    api.call("PUT", ORG + "/apikeys/{id}/duplicate", one, {"displayName": "twin"}, 201)
    api.call("PUT", ORG + "/apikeys/{id}/regenerate", one, expected=200, query="?overlap=P2D")
    for name in ("disable", "activate"):
        api.call("PUT", ORG + "/apikeys/{id}/" + name, one, {}, 200)
        api.call("PUT", ORG + f"/apikeys/{name}/bulk", (), [key["id"]], 204)
    api.call("PUT", ORG + "/apikeys/{id}/activation/extend", one, expected=409)
    api.instance.advance("350d")
    api.call("PUT", ORG + "/apikeys/{id}/activation/extend", one, expected=200)
    api.call("POST", ORG + "/apikeys/{id}/exposure", one, {"severity": "LOW", "reason": "in a ticket"}, 201)
    report = {"id": key["id"], "severity": "HIGH", "reason": "in a paste", "suspiciousActivity": True, "source": "API", "url": "https://example.com/x"}
    api.call("POST", ORG + "/exposures", (), report, 201)
    exposed = api.call("GET", ORG + "/apikeys/{id}", one, expected=200)
    assert exposed["exposureReport"]["severity"] == "HIGH" and exposed["exposureReport"]["deactivationDate"]
    api.call("DELETE", ORG + "/apikeys/{id}/exposure", one, expected=200, query="?reason=it+was+another+key")
    api.call("PUT", ORG + "/apikeys/{id}/revoke", one, expected=200)
    api.call("PUT", ORG + "/apikeys/{id}/activate", one, expected=409)
    api.call("DELETE", ORG + "/apikeys/{id}", one, expected=204)
    spare = [api.key(f"spare {n}")["id"] for n in range(2)]
    api.call("POST", ORG + "/apikeys/delete/bulk", (), spare, 204)
    integration = api.key("suite", "INTEGRATION", permissionsEnabled=True, permissions=[{"object": "invoice", "action": "create"}],
                          contact={"firstName": "A", "lastName": "B", "login": "ab", "email": "ab@example.com"})
    assert integration["contact"] == {"firstName": "A", "lastName": "B", "email": "ab@example.com"}


def test_templates_activities_and_notices(api):
    templates = api.call("GET", ORG + "/templates/apikeys", expected=200)
    api.call("GET", ORG + "/templates/apikeys/{id}", {"id": templates[0]["id"]}, expected=200)
    api.call("GET", ORG + "/templates/apikeys/privileges/eligibility", expected=200)
    short = api.key("short", "CUSTOM", privileges=[{"owner": "PLATFORM", "targetDomain": "SOURCE", "type": "VIEW"}], lifetimeDuration="P1D")
    page = api.call("POST", ORG + "/activities/public", (), {"resourceIds": [short["id"]]}, 200, "?perPage=5")
    assert page["items"]
    api.call("GET", ORG + "/activities/{id}", {"id": page["items"][0]["id"]}, expected=200)
    for name in ("resourcetypes", "operationtypes", "resourcesandoperations"):
        assert api.call("GET", ORG + "/activities/" + name, expected=200)
    api.instance.advance("2d")
    notices = api.call("GET", ORG + "/notices", expected=200, query=f"?subject={short['id']}")["items"]
    assert notices
    api.call("GET", ORG + "/notices/{id}", {"id": notices[0]["id"]}, expected=200)
    api.call("GET", ORG + "/notices", expected=400, query="?state=asleep")


def test_partners_and_their_files(api, tmp_path):
    one = {"name": "umbrella"}
    api.call("POST", ORG + "/partners", (), {"name": "umbrella", "emails": ["it@example.com"]}, 201)
    api.call("POST", ORG + "/partners", (), {"name": "umbrella"}, 409)
    api.call("POST", ORG + "/partners", (), {"name": "../etc"}, 400)
    api.call("GET", ORG + "/partners", expected=200)
    api.call("GET", ORG + "/partners/{name}", one, expected=200)
    api.call("PUT", ORG + "/partners/{name}", one, {"allowedIps": ["198.51.100.0/24"]}, 200)
    api.call("POST", ORG + "/partners/{name}/suspend", one, {}, 200)
    api.call("POST", ORG + "/partners/{name}/resume", one, {}, 200)
    api.call("PUT", ORG + "/partners/{name}/password", one, {"password": "correct horse battery staple"}, 204)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    public = (tmp_path / "key.pub").read_text()
    ssh = api.call("POST", ORG + "/partners/{name}/ssh-keys", one, {"key": public, "label": "build", "expires": "2037-01-31"}, 201)
    api.call("POST", ORG + "/partners/{name}/ssh-keys", one, {"key": "no key"}, 400)
    pgp = api.call("POST", ORG + "/partners/{name}/pgp-keys", one, {"key": api.partner_pgp()}, 201)
    api.call("GET", ORG + "/partners/{name}/sheet", one, expected=200)
    full = api.call("GET", ORG + "/partners/{name}", one, expected=200)
    assert full["sshKeys"] and full["pgpKeys"]
    api.call("DELETE", ORG + "/partners/{name}/ssh-keys/{id}", {**one, "id": ssh["id"]}, expected=204)
    api.call("DELETE", ORG + "/partners/{name}/pgp-keys/{id}", {**one, "id": pgp["id"]}, expected=204)

    plain = tmp_path / "invoice.csv"
    plain.write_text("a,b\n1,2\n")
    sealed = api.instance.seal(plain, tmp_path / "invoice.csv.pgp")
    api.instance.sftp(f"put {sealed} /Incoming/Invoices/")
    row = api.instance.wait_state("invoice.csv.pgp", "archived")
    damaged = tmp_path / "damaged.csv.pgp"
    damaged.write_text("this is no OpenPGP message\n")
    api.instance.sftp(f"put {damaged} /Incoming/Invoices/")
    failed = api.instance.wait_state("damaged.csv.pgp", "failed")
    assert api.call("GET", ORG + "/files", expected=200)["items"]
    api.call("GET", ORG + "/files", expected=400, query="?limit=0")
    assert api.call("GET", ORG + "/files/{id}", {"id": row["id"]}, expected=200)["history"]
    api.call("GET", ORG + "/files/{id}/content", {"id": row["id"]}, expected=200)
    content = api.request("GET", ORG + "/files/" + row["id"] + "/content")[2]
    assert hashlib.sha256(content).hexdigest() == hashlib.sha256(sealed.read_bytes()).hexdigest()
    part = api.request("GET", ORG + "/files/" + row["id"] + "/content", headers={"Range": "bytes=10-19"})
    assert part[0] == 206 and part[2] == content[10:20]
    api.call("POST", ORG + "/files/{id}/retry", {"id": failed["id"]}, {}, 200)
    api.call("POST", ORG + "/files/{id}/retry", {"id": row["id"]}, {}, 409)


def test_verification(api):
    key = api.key("checked")
    gateway = {"X-Gateway-Token": api.env["SALLYPORT_GATEWAY_TOKEN"]}
    good = {**gateway, "X-API-Key": key["value"]}
    for headers, query, expected in ((good, "", 200), (good, "?require=SEARCH_API/EXECUTE_QUERY", 200), (good, "?require=A/B", 403),
                                     (gateway, "", 401), ({"X-API-Key": key["value"]}, "", 401)):
        api.call("GET", "/verify", expected=expected, query=query, headers=headers, token=None)
        status, header, content = api.request("GET", "/verify" + query, headers=headers, token=None)
        for name in api.operations["GET", "/verify"]["responses"][str(status)]["headers"]:
            assert header[name] or name == "X-Key-Contact", f"{status} lacks {name}"
    form = {**gateway, "Content-Type": "application/x-www-form-urlencoded"}
    active = api.call("POST", "/introspect", (), "token=" + key["value"], 200, headers=form, token=None)
    assert active["active"] is True and active["sub"] == key["id"]
    assert api.call("POST", "/introspect", (), "token=" + "0" * 40, 200, headers=form, token=None) == {"active": False}
    assert api.request("POST", "/introspect", "", None, form)[0] == 400
    assert api.request("POST", "/introspect", "token=x", None, {"Content-Type": form["Content-Type"]})[0] == 401


def test_reports_that_github_signed(api):
    private, public = api.github / "key.pem", api.github / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    api.pinned.write_text(json.dumps({"public_keys": [{"key_identifier": "one", "key": public.read_text(), "is_current": True}]}))
    key = api.key("leaked", "CUSTOM", privileges=[{"owner": "PLATFORM", "targetDomain": "SOURCE", "type": "VIEW"}])
    body = json.dumps([{"token": key["value"], "type": "sallyport", "url": "https://example.com/blob/1", "source": "content"},
                       {"token": "0" * 40, "type": "sallyport"}])
    (api.github / "body").write_text(body)
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", private, api.github / "body"], check=True, capture_output=True).stdout
    headers = {"Github-Public-Key-Identifier": "one", "Github-Public-Key-Signature": base64.b64encode(signature).decode(),
               "Content-Type": "application/json"}
    labels = api.call("POST", "/exposures/github", (), body, 200, headers=headers, token=None)
    assert [label["label"] for label in labels] == ["true_positive", "false_positive"]
    api.call("POST", "/exposures/github", (), body + " ", 403, headers=headers, token=None)
    exposed = api.call("GET", ORG + "/apikeys/{id}", {"id": key["id"]}, expected=200)
    assert exposed["exposureReport"]["creationType"] == "AUTOMATED" and exposed["exposureReport"]["severity"] == "HIGH"


def test_every_operation_has_been_tried(api):
    api.call("GET", "/openapi.json", expected=200, token=None)
    untried = set(api.operations) - api.called
    assert not untried, f"these are documented and not tested: {sorted(untried)}"
