"""What a client of the management API may do wrong: every state times every event, every field at its limit and one over,
hostile words in every text, and what must come of it at the door, in the mails and in the log."""
import collections
import json
import urllib.parse

import pytest

from keys_api import Api, DAY, Gateway, Mails, texts
from test_keys import HOSTILE, contact, fields_for


# ---------------------------------------------------------------------------- every state times every event
EVENTS = ["activate", "disable", "revoke", "regenerate", "duplicate", "extend", "edit", "report", "withdraw", "delete"]
OK, SAME = "ok", "unchanged"
NOT_WARNED, NOT_ENABLED, NEVER = "API_KEY_NOT_IN_WARNING_PERIOD", "API_KEY_NOT_ENABLED", "API_KEY_CANNOT_BE_REACTIVATED"
EXPOSED, EXPIRED, REVOKED, INACTIVE = "API_KEY_EXPOSED", "API_KEY_EXPIRED", "API_KEY_REVOKED", "API_KEY_DISABLED_FOR_INACTIVITY"
NOT_EXPOSED, TOO_LATE = "API_KEY_NOT_EXPOSED", "EXPOSURE_DEADLINE_PASSED"
#                          activate  disable  revoke   regenerate duplicate extend     edit report withdraw    delete
TABLE = {
    "enabled":                [SAME,    OK,      OK,      OK,       OK, NOT_WARNED,  OK, OK, NOT_EXPOSED, OK],
    "enabled custom":         [SAME,    OK,      OK,      OK,       OK, NOT_WARNED,  OK, OK, NOT_EXPOSED, OK],
    "enabled warned":         [SAME,    OK,      OK,      OK,       OK, OK,          OK, OK, NOT_EXPOSED, OK],
    "enabled flagged":        [SAME,    OK,      OK,      EXPOSED,  OK, NOT_WARNED,  OK, OK, OK,          OK],
    "enabled flagged warned": [SAME,    OK,      OK,      EXPOSED,  OK, OK,          OK, OK, OK,          OK],
    "disabled":               [OK,      SAME,    OK,      OK,       OK, NOT_ENABLED, OK, OK, NOT_EXPOSED, OK],
    "disabled custom":        [NEVER,   SAME,    OK,      OK,       OK, NOT_ENABLED, OK, OK, NOT_EXPOSED, OK],
    "disabled flagged":       [EXPOSED, SAME,    OK,      EXPOSED,  OK, NOT_ENABLED, OK, OK, OK,          OK],
    "inactive":               [OK,      SAME,    OK,      INACTIVE, OK, NOT_ENABLED, OK, OK, NOT_EXPOSED, OK],
    "inactive custom":        [NEVER,   SAME,    OK,      INACTIVE, OK, NOT_ENABLED, OK, OK, NOT_EXPOSED, OK],
    "inactive flagged":       [EXPOSED, SAME,    OK,      INACTIVE, OK, NOT_ENABLED, OK, OK, OK,          OK],
    "exposed":                [EXPOSED, SAME,    EXPOSED, EXPOSED,  OK, EXPOSED,     OK, OK, TOO_LATE,    OK],
    "expired":                [EXPIRED, EXPIRED, EXPIRED, EXPIRED,  OK, EXPIRED,     OK, OK, NOT_EXPOSED, OK],
    "revoked":                [REVOKED, REVOKED, REVOKED, REVOKED,  OK, REVOKED,     OK, OK, NOT_EXPOSED, OK],
}
SHOWN = {"enabled": "ENABLED", "disabled": "DISABLED", "inactive": "DISABLED_FOR_INACTIVITY", "exposed": "DISABLED_EXPOSED",
         "expired": "EXPIRED", "revoked": "REVOKED"}


@pytest.fixture(scope="module")
def in_every_state():
    """{state: {event: key}}: a key for each, brought there over the API and by the clock."""
    from conftest import Instance
    instance = Instance()
    api = Api(instance)
    keys = collections.defaultdict(dict)
    start = api.now() // 1000

    def make(words, **more):
        for state in TABLE:
            if all(word in state.split() for word in words) and state not in keys:
                template = "CUSTOM" if "custom" in state else "INTEGRATION"
                for event in EVENTS:
                    fields = fields_for(template, **({"lifetimeDuration": None} | more))
                    keys[state][event] = api.create(template, **fields | {"displayName": f"{state}, {event}"})

    def to(day):
        api.advance(start + day * DAY - api.now() // 1000)

    def expose(state, severity):
        for key in keys[state].values():
            api.post(f"/apikeys/{key['id']}/exposure", {"severity": severity, "reason": "in a log"}, expect=201)

    make(["inactive"])
    to(15)
    make(["warned"])
    for day in (337, 352):
        to(day)
    to(364)
    expose("inactive flagged", "LOW")
    make(["expired"], lifetimeDuration="P1D")
    to(365.5)
    to(368)
    make([])
    for state, ten in keys.items():
        if state.startswith(("disabled", "revoked")):
            for key in ten.values():
                api.put(f"/apikeys/{key['id']}/{'disable' if state.startswith('disabled') else 'revoke'}")
    for state in ("enabled flagged", "enabled flagged warned", "disabled flagged"):
        expose(state, "LOW")
    expose("exposed", "CRITICAL")
    yield api, keys
    instance.down()


@pytest.mark.parametrize("state", TABLE)
def test_every_event_in_this_state(in_every_state, state):
    api, keys = in_every_state
    for event, expected in zip(EVENTS, TABLE[state]):
        key = keys[state][event]
        path = f"/apikeys/{key['id']}"
        before = api.key(key)
        shown = SHOWN[state.split()[0]]
        assert before["status"] == ("SOON_TO_BE_DISABLED" if "warned" in state else shown), state
        method, rest, body = {
            "extend": ("PUT", "/activation/extend", None), "edit": ("PUT", "", {"displayName": "renamed"}),
            "report": ("POST", "/exposure", {"severity": "MEDIUM", "reason": "in a paste", "url": "https://example.com/p"}),
            "withdraw": ("DELETE", "/exposure?reason=it%20was%20a%20test", None), "delete": ("DELETE", "", None),
        }.get(event, ("PUT", f"/{event}", None))
        if expected in (OK, SAME):
            api.call(method, path + rest, body)
        else:
            problem = api.refused(409, expected, method, path + rest, body)
            assert len(problem["detail"]) > 40, "says what to do instead"
        if event == "delete":
            api.refused(404, "API_KEY_NOT_FOUND", "GET", path)
        elif expected != OK:
            assert api.key(key) == before, f"{state}, {event}: nothing changed"
        elif event in ("activate", "disable", "revoke"):
            after = {"activate": "ENABLED", "disable": "DISABLED", "revoke": "REVOKED"}[event]
            assert api.status(key) == after, f"{state}, {event}"


# ---------------------------------------------------------------------------- every field at its limit and one over
def privilege(**more):
    return {"privileges": [{"owner": "PLATFORM", "targetDomain": "SOURCE", "type": "VIEW"} | more]}


def configuration(hub=None, catalog=None):
    out = {"search": {"enforcedQueryPipelineConfiguration": {"searchHub": hub}}} if hub else {}
    return {"additionalConfiguration": out | ({"commerce": {"catalogId": catalog}} if catalog else {})}


def mail_address(length):
    domain = ".".join(["d" * 60] * 4)[:length - 65]
    return "l" * (length - 1 - len(domain)) + "@" + domain


LIMITS = [  # field, template, what makes it of a size, limit, error
    ("displayName", "CUSTOM", lambda n: {"displayName": "x" * n}, 125, "FIELD_TOO_LONG"),
    ("description", "CUSTOM", lambda n: {"description": "x" * n}, 1000, "FIELD_TOO_LONG"),
    ("privileges", "CUSTOM", lambda n: {"privileges": [privilege(targetId=f"s{i}")["privileges"][0] for i in range(n)]}, 500, "TOO_MANY_ENTRIES"),
    ("privileges.owner", "CUSTOM", lambda n: privilege(owner="O" * n), 64, "INVALID_PRIVILEGE"),
    ("privileges.targetDomain", "CUSTOM", lambda n: privilege(targetDomain="D" * n), 64, "INVALID_PRIVILEGE"),
    ("privileges.type", "CUSTOM", lambda n: privilege(type="T" * n), 64, "INVALID_PRIVILEGE"),
    ("privileges.targetId", "CUSTOM", lambda n: privilege(targetId="i" * n), 256, "INVALID_PRIVILEGE"),
    ("permissions", "INTEGRATION", lambda n: {"permissionsEnabled": True, "permissions": [{"object": f"o{i}", "action": "a"} for i in range(n)]}, 500,
     "TOO_MANY_ENTRIES"),
    ("permissions.object", "INTEGRATION", lambda n: {"permissionsEnabled": True, "permissions": [{"object": "o" * n, "action": "a"}]}, 64, "INVALID_PERMISSION"),
    ("permissions.action", "INTEGRATION", lambda n: {"permissionsEnabled": True, "permissions": [{"object": "o", "action": "a" * n}]}, 64, "INVALID_PERMISSION"),
    ("allowedIps", "CUSTOM", lambda n: {"allowedIps": [f"9.9.{i // 256}.{i % 256}" for i in range(n)]}, 500, "TOO_MANY_ENTRIES"),
    ("deniedIps", "CUSTOM", lambda n: {"deniedIps": [f"2001:db9::{i + 1:x}" for i in range(n)]}, 500, "TOO_MANY_ENTRIES"),
    ("searchHub", "SEARCH_PAGES", lambda n: configuration(hub="h" * n), 125, "FIELD_TOO_LONG"),
    ("catalogId", "SEARCH_PAGES", lambda n: configuration(catalog="c" * n), 125, "FIELD_TOO_LONG"),
    ("additionalConfiguration", "CUSTOM", lambda n: {"additionalConfiguration": {"x": "y" * (n - 8)}}, 16384, "FIELD_TOO_LONG"),
    ("contact.firstName", "INTEGRATION", lambda n: {"contact": contact(firstName="x" * n)}, 125, "FIELD_TOO_LONG"),
    ("contact.lastName", "INTEGRATION", lambda n: {"contact": contact(lastName="x" * n)}, 125, "FIELD_TOO_LONG"),
    ("contact.login", "INTEGRATION", lambda n: {"contact": contact(login="x" * n)}, 125, "FIELD_TOO_LONG"),
    ("contact.email", "INTEGRATION", lambda n: {"contact": contact(email=mail_address(n))}, 254, "FIELD_TOO_LONG"),
    ("lifetimeDuration", "CUSTOM", lambda n: {"lifetimeDuration": f"P{n}Y"}, 100, "INVALID_LIFETIME"),
]


@pytest.mark.parametrize("field,template,build,limit,code", LIMITS, ids=[row[0] for row in LIMITS])
def test_a_field_of_a_key_at_its_limit_and_one_over(api, field, template, build, limit, code):
    path = f"/apikeys?apiKeyTemplateId={template}"
    made = api.post(path, fields_for(template) | build(limit), expect=201).json
    before = len(api.get("/apikeys"))
    problem = api.refused(400, code, "POST", path, fields_for(template) | build(limit + 1))
    assert str(limit) in problem["detail"] or field in ("additionalConfiguration",), problem
    assert len(api.get("/apikeys")) == before
    shown = api.key(made)
    sent = build(limit)
    for name, value in sent.items():
        if name in shown and name not in ("contact", "privileges"):
            assert shown[name] == value, name
    api.delete(f"/apikeys/{made['id']}")


@pytest.mark.parametrize("field", ["groupsThatCanEdit", "groupsThatCanView"])
def test_lists_of_groups_at_their_limit_and_one_over(instance, api, field):
    group = next(g["id"] for g in api.get("/admin/groups")["items"])
    key = api.custom(**{field: [{"id": group}] * 500})
    assert [g["id"] for g in api.key(key)[field]] == [group], "the same one is kept once"
    assert api.put(f"/apikeys/{key['id']}", {field: [group, group]}).json[field] == api.key(key)[field]
    for method, path in (("POST", "/apikeys?apiKeyTemplateId=CUSTOM"), ("PUT", f"/apikeys/{key['id']}")):
        api.refused(400, "TOO_MANY_ENTRIES", method, path, fields_for("CUSTOM" if method == "POST" else "") | {field: [group] * 501})


def test_texts_of_exposures_at_their_limit_and_one_over(api):
    for field, limit, code in (("reason", 1000, "FIELD_TOO_LONG"), ("url", 2000, "INVALID_FIELD")):
        key = api.custom()
        path, body = f"/apikeys/{key['id']}/exposure", {"severity": "LOW", "reason": "found"}
        text = "https://example.com/" + "u" * (limit - 20) if field == "url" else "ü" * limit
        assert str(limit) in api.refused(400, code, "POST", path, body | {field: text + "x"})["detail"]
        assert "exposureReport" not in api.key(key)
        api.post(path, body | {field: text}, expect=201)
        assert api.key(key)["exposureReport"]["reasons"][0][field] == text
    for missing in ({}, {"reason": ""}, {"reason": " \t\n"}):
        api.refused(400, "FIELD_REQUIRED", "POST", path, {"severity": "LOW"} | missing)
    why = urllib.parse.quote("ü" * 1000)
    api.refused(400, "FIELD_TOO_LONG", "DELETE", f"{path}?reason={why}x")
    api.delete(f"{path}?reason={why}")
    assert "exposureReport" not in api.key(key)


def test_days_and_overlaps_at_their_limit_and_one_over(api):
    now = api.now()
    day = 86400000
    tomorrow = (now // day + 1) * day
    assert api.custom(lifetimeDuration="P1D")["expirationDate"] == tomorrow + day
    assert api.create("INTEGRATION", **fields_for("INTEGRATION", expirationDate=tomorrow))["expirationDate"] == tomorrow, "the end of today"
    assert api.create("INTEGRATION", **fields_for("INTEGRATION", expirationDate="9999-12-30"))["expirationDate"] == 253402214400000
    path = "/apikeys?apiKeyTemplateId=INTEGRATION"
    for bad in (0, -1, tomorrow - day, 253402300800000, 2**63 - 1, "2020-01-01", "10000-01-01", "2027-02-29", "2027-13-01", "", "tomorrow", 1.5, True):
        answer = api.call("POST", path, fields_for("INTEGRATION", expirationDate=bad), expect=400)
        assert answer.code in ("INVALID_FIELD", "INVALID_LIFETIME"), (bad, answer.body)
    key = api.custom()
    api.put(f"/apikeys/{key['id']}/regenerate?overlap=P30D")
    api.refused(400, "INVALID_OVERLAP", "PUT", f"/apikeys/{key['id']}/regenerate?overlap=2592001s")


def test_what_administrators_are_called_at_its_limit_and_one_over(instance):
    long = "n" * 125
    instance.ctl("admin", "create", "named@example.org", "--name", long)
    assert "125" in instance.ctl_fails("admin", "create", "other@example.org", "--name", long + "n")
    instance.ctl("admin", "group", "put", long, "--privilege", "PLATFORM/API_KEY/VIEW")
    assert "125" in instance.ctl_fails("admin", "group", "put", long + "n", "--privilege", "PLATFORM/API_KEY/VIEW")
    for command in (("admin", "token", "create", "named@example.org"), ("gateway-token", "create")):
        instance.ctl(*command, "--label", long)
        assert "125" in instance.ctl_fails(*command, "--label", long + "n")
        for lifetime in ("P0D", "P101Y", "P65536Y", "P99999Y", "P999999999Y", "P99999999999999999999D", "-P1D", "soon"):
            said = instance.ctl_fails(*command, "--label", "x", "--lifetime", lifetime)
            assert len(said.strip().splitlines()) == 1, said


# ---------------------------------------------------------------------------- hostile words in every text
def test_hostile_words_in_every_text_of_a_key(instance, api):
    """What is no name is refused; what may be any text stays that text, in the answers, headers, mails and the log."""
    gateway, mails = Gateway(instance), Mails(instance)
    path = "/apikeys?apiKeyTemplateId="
    made = []
    for number, text in enumerate(HOSTILE):
        for field in ("owner", "targetDomain", "type"):
            api.refused(400, "INVALID_PRIVILEGE", "POST", path + "CUSTOM", fields_for("CUSTOM") | privilege(**{field: text}))
        for field in ("object", "action"):
            permission = {"object": "o", "action": "a"} | {field: text}
            api.refused(400, "INVALID_PERMISSION", "POST", path + "INTEGRATION",
                        fields_for("INTEGRATION", permissionsEnabled=True, permissions=[permission]))
        assert api.call("POST", path + "INTEGRATION", fields_for("INTEGRATION", contact=contact(email=text + "@example.net")), expect=400).code == "INVALID_FIELD"
        api.refused(400, "UNKNOWN_TEMPLATE", "POST", path + urllib.parse.quote(text), fields_for("CUSTOM"))
        api.refused(400, "INVALID_LIFETIME", "POST", path + "CUSTOM", fields_for("CUSTOM", lifetimeDuration=text))
        api.refused(400, "INVALID_FIELD", "POST", path + "CUSTOM", fields_for("CUSTOM", expirationDate=text))
        api.refused(400, "INVALID_FILTER", "GET", "/apikeys?status=" + urllib.parse.quote(text))
        for field in ("severity", "source"):
            api.refused(400, "INVALID_FIELD", "POST", "/exposures", {"value": "0" * 40, "severity": "LOW", "reason": "x"} | {field: text})
        api.refused(404, "API_KEY_NOT_FOUND", "POST", "/exposures", {"value": text, "severity": "LOW", "reason": "x"})
        api.refused(404, "API_KEY_NOT_FOUND", "GET", "/apikeys/" + urllib.parse.quote(text, safe=""))
        who = contact(firstName=text, lastName=text, login=f"{number} {text}")
        key = api.create("INTEGRATION", displayName=text, description=text, contact=who, lifetimeDuration="P9D")
        api.put(f"/apikeys/{key['id']}", {"displayName": text + "!"})
        hub = api.create("SEARCH_PAGES", displayName=text, **configuration(hub=text))
        custom = api.post(path + "CUSTOM", {"displayName": text} | (privilege(targetId=text) if number > 0 else {}), expect=201).json
        report = {"severity": "LOW", "reason": text, "url": text if number > 0 else "https://example.com/"}
        for reported in (key, hub, custom):
            api.post(f"/apikeys/{reported['id']}/exposure", report, expect=201)
        if number == 0:  # a line break has no place in an address
            api.refused(400, "INVALID_FIELD", "POST", f"/apikeys/{key['id']}/exposure", report | {"url": text})
            api.refused(400, "INVALID_PRIVILEGE", "POST", path + "CUSTOM", fields_for("CUSTOM") | privilege(targetId=text))
        shown = api.key(key)
        assert (shown["contact"]["firstName"], shown["description"], shown["displayName"]) == (text, text, text + "!")
        assert shown["exposureReport"]["reasons"][0]["reason"] == text and "login" not in shown["contact"]
        assert api.key(hub)["additionalConfiguration"] == configuration(hub=text)["additionalConfiguration"]
        for asked in (key, custom):
            answer = gateway.ask(asked["value"])
            assert answer.status == 200 and "bcc" not in answer.headers
            words = [answer.headers[h] for h in ("x-key-name", "x-key-privileges", "x-key-contact") if h in answer.headers]
            assert all(w.isascii() and w.isprintable() for w in words), words
        assert urllib.parse.unquote(gateway.ask(key["value"]).headers["x-key-contact"]) == f"{text} {text}"
        api.delete(f"/apikeys/{custom['id']}/exposure?reason=" + urllib.parse.quote(text))
        made.append(key)
    api.advance(3 * DAY)
    about = {key["id"]: 0 for key in made}
    for mail in mails.take():
        assert mail["Bcc"] is None and mail["Cc"] is None and len(mail["To"].addresses) == 1
        assert [mail["X-Envelope-To"]] == [a.addr_spec for a in mail["To"].addresses]
        assert len(mail.get_all("Subject")) == 1 and "\n" not in str(mail["Subject"]) and len(list(mail.iter_parts())) == 2
        plain, html = texts(mail)
        assert "<script" not in html and "<img" not in html and "onerror=alert(1)>" not in html and "\nBcc:" not in plain.replace("\r", "")
        about[mail["X-Sallyport-Subject"]] = about.get(mail["X-Sallyport-Subject"], 0) + 1
    assert all(about[key["id"]] >= 3 for key in made), "the flag to the administrator, the expiry to the administrator and to the contact"
    assert json.loads(instance.ctl("--json", "activity", "verify"))["good"] is True
    assert len(api.get("/apikeys")) >= 2 * len(HOSTILE), "the tables are still there"


def test_hostile_words_in_every_text_of_administration(instance, api):
    for number, text in enumerate(HOSTILE):
        plain = not any(ord(c) < 32 for c in text)
        for args in (("admin", "create", f"h{number}@example.org", "--name", text), ("gateway-token", "create", "--label", text),
                     ("admin", "group", "put", text, "--privilege", "PLATFORM/API_KEY/VIEW")):
            if plain:
                instance.ctl(*args)
            else:
                assert "control characters" in instance.ctl_fails(*args)
        assert len(instance.ctl_fails("admin", "create", text, "--name", "x").strip().splitlines()) == 1
        assert len(instance.ctl_fails("admin", "create", text + "@example.org", "--name", "x").strip().splitlines()) == 1
        assert "INVALID_PRIVILEGE" in api.send("PUT", "/admin/groups/x", {"privileges": [text]}).body.decode() or not plain
        instance.ctl_fails("admin", "token", "revoke", text)
        instance.ctl_fails("admin", "show", text)
    names = {a["name"] for a in instance.items("admin", "list")}
    assert {t for t in HOSTILE if "\n" not in t} <= names
    table = instance.ctl("admin", "list") + instance.ctl("gateway-token", "list") + instance.ctl("admin", "group", "list")
    assert "\r" not in table and "\x1b" not in table


# ---------------------------------------------------------------------------- at the gateway's door
def test_two_different_keys_in_one_request_admit_nobody(instance, api):
    gateway = Gateway(instance)
    one, two = api.custom(), api.custom()
    for headers in ({"X_COUPA_API_KEY": two["value"]}, {"Authorization": f"Bearer {two['value']}"}, {"X_COUPA_API_KEY": "0" * 40}):
        answer = gateway.ask(one["value"], **headers)
        assert answer.status == 401 and "www-authenticate" in answer.headers and "x-key-id" not in answer.headers, headers
    for headers in ({"X_COUPA_API_KEY": one["value"]}, {"Authorization": f"Bearer {one['value']}"}):
        assert gateway.ask(one["value"], **headers).status == 200, "the same one twice is one"
    for key in (one, two):
        assert api.key(key)["status"] in ("ENABLED", "SOON_TO_BE_EXPIRED")


def test_values_that_are_no_values(instance):
    gateway = Gateway(instance)
    outside = None
    for value in ("", " ", "0" * 40, "0" * 39, "0" * 41, "x" * 7000, "' OR 1=1 --", "é" * 20, "<script>", "%00", "../../etc/passwd"):
        answer = gateway.ask(value.encode("utf-8").decode("latin-1"))
        told = (answer.status, answer.headers["www-authenticate"], answer.body)
        assert told[0] == 401 and outside in (None, told), value[:40]
        outside = told
    for query in ("?require=", "?require=x", "?require=a/b/c/d", "?require=a:b:c", "?require=%00", "?require=" + "a" * 3000 + "/b", "?require=a/b&require=",
                  "?require=%zz", "?require=a/b@", "?nothing=x&require=/"):
        assert gateway.ask("0" * 40, query=query).status == 401, query
