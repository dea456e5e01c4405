"""Keys from creation to deletion over the management API, each step asked for at verify.sock too."""
import hashlib
import json

import pytest

from keys_api import Api, DAY, end_of_day, instant

VIEW = {"owner": "PLATFORM", "targetDomain": "SOURCE", "type": "VIEW", "targetId": "*"}
CONTACT = {"firstName": "Ada", "lastName": "Byron", "login": "ada", "email": "ada@example.net"}
TEMPLATES = {
    "ANONYMOUS_SEARCH": ("PUBLIC", ["SEARCH_API/EXECUTE_QUERY", "USAGE_ANALYTICS/ANALYTICS_DATA/EDIT"]),
    "AUTHENTICATED_SEARCH": ("PRIVATE", ["SEARCH_API/EXECUTE_QUERY", "SEARCH_API/IMPERSONATE", "USAGE_ANALYTICS/ANALYTICS_DATA/EDIT"]),
    "USAGE_ANALYTICS": ("PUBLIC", ["USAGE_ANALYTICS/ANALYTICS_DATA/EDIT"]),
    "SEARCH_PAGES": ("PUBLIC", ["SEARCH_API/EXECUTE_QUERY", "SEARCH_API/SEARCH_PAGES/VIEW"]),
    "CUSTOM": ("PRIVATE", ["PLATFORM/SOURCE/VIEW"]),
    "INTEGRATION": ("PRIVATE", []),
}
HOSTILE = [
    "\r\nBcc: thief@example.com\r\n\r\n<script>alert(1)</script>",
    "Robert'); DROP TABLE api_key; --",
    "<img src=x onerror=alert(1)>&amp;\"'",
    "%s%n${jndi:ldap://example.com/x}{{7*7}}",
    "тест ‮ 測試 🗝",
]


def name_of(privilege):
    return "/".join(privilege[part] for part in ("owner", "targetDomain", "type") if part in privilege)


def fields_for(template, **more):
    fields = {"CUSTOM": {"privileges": [VIEW]}, "INTEGRATION": {"contact": contact()}}.get(template, {})
    return {"displayName": template.lower(), **fields, **more}


def contact(**more):
    contact.count = getattr(contact, "count", 0) + 1
    return CONTACT | {"login": f"ada{contact.count}", "email": f"ada{contact.count}@example.net"} | more


# ---------------------------------------------------------------------------- creation and limits
@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_makes_keys_that_hold_what_it_says(api, gateway, template):
    privacy, privileges = TEMPLATES[template]
    key = api.create(template, **fields_for(template))
    assert len(key["value"]) == 40 and set(key["value"]) <= set("0123456789abcdef")
    assert len(key["id"]) == 26 and key["resourceId"] == key["id"] and key["organizationId"] == api.env["SALLYPORT_ORG"]
    assert key["privacyLevel"] == privacy and key["status"] == "ENABLED" and key["enabled"]
    assert sorted(name_of(p) for p in key["privileges"]) == sorted(privileges)
    shown = api.key(key)
    assert shown["value"] == "xx*****" + key["value"][-4:]
    assert key["value"] not in json.dumps(api.get("/apikeys"))
    assert gateway.status(key) == 200
    for each in privileges:
        assert gateway.status(key, query=f"?require={each}" + ("@x" if template == "CUSTOM" else "")) == 200, each
    assert gateway.status(key, query="?require=PLATFORM/NOTHING") == (403 if template != "INTEGRATION" else 403)
    assert "login" not in shown.get("contact", {})


def test_default_and_given_lifetimes(api):
    made = api.custom()
    created = made["createdDate"] // 1000
    assert made["expirationDate"] // 1000 == end_of_day(created + 14 * DAY)
    for never in (None, ""):
        assert "expirationDate" not in api.custom(lifetimeDuration=never)
    assert "expirationDate" not in api.create("INTEGRATION", **fields_for("INTEGRATION"))
    assert api.create("INTEGRATION", **fields_for("INTEGRATION", expirationDate="2050-05-15"))["expirationDate"] == 2536272000000
    for bad in ("P0D", "P", "PT5M", "-P1D", "14 days", "P1.5Y", "P999Y", "P65536Y", "P99999Y", "P9999Y99999M99999W99999D", "P99999999999999999999D"):
        api.refused(400, "INVALID_LIFETIME", "POST", "/apikeys?apiKeyTemplateId=CUSTOM", fields_for("CUSTOM", lifetimeDuration=bad))
    api.refused(400, "LIFETIME_NOT_OFFERED", "POST", "/apikeys?apiKeyTemplateId=SEARCH_PAGES", {"displayName": "x", "lifetimeDuration": "P1D"})


@pytest.mark.parametrize("field,limit,template", [
    ("displayName", 125, "CUSTOM"), ("description", 1000, "CUSTOM"), ("firstName", 125, "INTEGRATION"),
    ("lastName", 125, "INTEGRATION"), ("login", 125, "INTEGRATION")])
def test_a_text_at_its_limit_and_one_over(api, field, limit, template):
    def fields(text):
        out = fields_for(template)
        (out["contact"] if template == "INTEGRATION" else out)[field] = text
        return out
    at_limit = "ü" * limit
    key = api.create(template, **fields(at_limit))
    if field != "login":
        shown = api.key(key)
        assert (shown["contact"] if template == "INTEGRATION" else shown)[field] == at_limit
    path = f"/apikeys?apiKeyTemplateId={template}"
    assert str(limit) in api.refused(400, "FIELD_TOO_LONG", "POST", path, fields("x" * (limit + 1)))["detail"]
    if template == "CUSTOM":
        api.refused(400, "FIELD_TOO_LONG", "PUT", f"/apikeys/{key['id']}", {field: "ab" * 400000})  # and soon
    if field != "description":
        api.refused(400, "FIELD_REQUIRED", "POST", path, fields(""))
        api.refused(400, "FIELD_REQUIRED", "POST", path, fields("  \t "))


def test_shapes_that_are_not_a_key(api):
    path = "/apikeys?apiKeyTemplateId=CUSTOM"
    for body in (b"", b"{", b"[]", b"null", b"7", b'{"displayName":7}', b'{"displayName":{}}', b'{"displayName":"x","privileges":{}}',
                 b'{"displayName":"x","privileges":["PLATFORM/SOURCE"]}', b'{"displayName":"x","allowedIps":"1.1.1.1"}',
                 b'{"displayName":"x","allowedIps":[1]}', b'{"displayName":"x","groupsThatCanEdit":[{}]}', b'{"displayName":"\xff"}',
                 b'{"displayName":"x","expirationDate":[]}', b'{"displayName":"x","expirationDate":-1}', b"[" * 100000,
                 b'{"a":' * 5000 + b"1" + b"}" * 5000):
        answer = api.send("POST", f"{api.org}{path}", body)
        assert answer.status == 400 and answer.json["errorCode"], (body[:60], answer)
    assert api.send("POST", f"{api.org}{path}", b" " * (2 << 20)).status == 413
    api.kept.drop()  # the server may have hung up on that
    api.refused(400, "UNKNOWN_TEMPLATE", "POST", "/apikeys?apiKeyTemplateId=NONE", {"displayName": "x"})
    assert api.send("GET", "/rest/organizations/other/apikeys").status == 404
    api.refused(404, "API_KEY_NOT_FOUND", "GET", "/apikeys/aaaaaaaaaaaaaaaaaaaaaaaaaa")
    api.refused(404, "API_KEY_NOT_FOUND", "PUT", "/apikeys/..%2f..%2fx/disable")


def test_what_no_key_may_hold(api):
    path = "/apikeys?apiKeyTemplateId=CUSTOM"
    for privilege in ({"owner": "PLATFORM", "targetDomain": "API_KEY", "type": "EDIT"}, {"owner": "platform", "targetDomain": "api_key"},
                      {"owner": "SEARCH_API", "targetDomain": "EXECUTE_QUERY"}, {"owner": "SEARCH_API", "targetDomain": "IMPERSONATE"},
                      {"owner": "USAGE_ANALYTICS", "targetDomain": "ANALYTICS_DATA", "type": "EDIT", "targetId": "x"}):
        api.refused(400, "PRIVILEGE_NOT_ALLOWED", "POST", path, fields_for("CUSTOM", privileges=[privilege]))
    api.refused(400, "PRIVILEGES_GIVEN_BY_TEMPLATE", "POST", "/apikeys?apiKeyTemplateId=SEARCH_PAGES", {"displayName": "x", "privileges": [VIEW]})
    api.refused(400, "PERMISSIONS_NOT_OFFERED", "POST", path, fields_for("CUSTOM", permissionsEnabled=True))
    integration = "/apikeys?apiKeyTemplateId=INTEGRATION"
    api.refused(400, "FIELD_REQUIRED", "POST", integration, fields_for("INTEGRATION", permissionsEnabled=True))
    api.refused(400, "PRIVILEGE_NOT_ALLOWED", "POST", integration,
                fields_for("INTEGRATION", permissionsEnabled=True, permissions=[{"object": "api_key", "action": "edit"}]))
    api.refused(400, "FIELD_REQUIRED", "POST", integration, {"displayName": "no contact"})
    api.refused(400, "CONTACT_NOT_OFFERED", "POST", path, fields_for("CUSTOM", contact=CONTACT))


def test_permissions_of_integrations(api, gateway):
    everything = api.create("INTEGRATION", **fields_for("INTEGRATION"))
    listed = api.create("INTEGRATION", **fields_for("INTEGRATION", permissionsEnabled=True, permissions=[
        {"object": "SUPPLIER_RISK", "action": "show"}, {"object": "invoices", "action": "create"}]))
    asked = {"invoices:create": (200, 200), "invoices:delete": (200, 403), "SUPPLIER_RISK:show": (403, 200), "SIM:show": (403, 403)}
    for require, (of_everything, of_listed) in asked.items():
        assert gateway.status(everything, query=f"?require={require}") == of_everything, require
        assert gateway.status(listed, query=f"?require={require}") == of_listed, require
    answer = gateway.ask(listed["value"])
    assert answer.headers["x-key-contact"].startswith("Ada") and answer.headers["x-key-id"] == listed["id"]


def test_search_hub_and_catalogue(api):
    hub = {"search": {"enforcedQueryPipelineConfiguration": {"searchHub": "docs"}}}
    catalogue = {"commerce": {"catalogId": "c1"}}
    assert api.create("SEARCH_PAGES", displayName="x", additionalConfiguration=hub)["additionalConfiguration"] == hub
    assert api.create("SEARCH_PAGES", displayName="x", additionalConfiguration=catalogue)["additionalConfiguration"] == catalogue
    path = "/apikeys?apiKeyTemplateId=SEARCH_PAGES"
    api.refused(400, "SEARCH_HUB_WITH_CATALOG", "POST", path, {"displayName": "x", "additionalConfiguration": hub | catalogue})
    api.refused(400, "SEARCH_HUB_NOT_OFFERED", "POST", "/apikeys?apiKeyTemplateId=CUSTOM", fields_for("CUSTOM", additionalConfiguration=hub))


# ---------------------------------------------------------------------------- addresses
def test_ip_lists_are_kept_and_obeyed(api, gateway):
    key = api.custom(allowedIps=["203.0.112.0/23", "2001:db9::/32", "::ffff:198.51.99.7"], deniedIps=["203.0.113.9"])
    assert key["allowedIps"] == ["203.0.112.0/23", "2001:db9::/32", "198.51.99.7"] or "198.51.99.7/32" in key["allowedIps"]
    for address, expected in {"203.0.113.8": 200, "203.0.113.9": 401, "2001:db9::1": 200, "198.51.99.7": 200, "9.9.9.9": 401, "nonsense": 401}.items():
        assert gateway.status(key, X_Forwarded_For=address) == expected, address
    assert gateway.status(key) == 401, "no address can be told"
    key = api.put(f"/apikeys/{key['id']}", {"allowedIps": [], "deniedIps": []}).json | {"value": key["value"]}
    assert gateway.status(key) == 200
    path = f"/apikeys/{key['id']}"
    assert "203.0.112.0/23" in api.refused(400, "INVALID_IP_RANGE", "PUT", path, {"allowedIps": ["203.0.113.0/23"]})["detail"]
    for bad in ("1.2.3", "1.2.3.4/33", "::1/129", "1.2.3.4/", "", "localhost", "01.2.3.4", "1.2.3.4 ", "1.2.3.4\n"):
        api.refused(400, "INVALID_IP_RANGE", "PUT", path, {"deniedIps": [bad]})
    for private in ("10.0.0.0/8", "192.168.1.1", "172.16.0.1", "127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0/0", "::1", "fe80::1", "fc00::/7", "ff02::1",
                    "::", "::ffff:10.0.0.1"):
        api.refused(400, "IP_RANGE_NOT_PUBLIC", "PUT", path, {"allowedIps": [private]})
    api.refused(400, "TOO_MANY_ENTRIES", "PUT", path, {"allowedIps": [f"9.9.{i // 256}.{i % 256}" for i in range(501)]})


# ---------------------------------------------------------------------------- values in texts
def test_a_value_of_any_key_is_refused_in_names_and_descriptions(api):
    key = api.custom()
    retired = key["value"]
    fresh = api.put(f"/apikeys/{key['id']}/regenerate").json["value"]
    for value in (retired, fresh, fresh.upper(), "00" + fresh + "ff"):
        for field in ("displayName", "description"):
            text = f"use {value}!" if field == "description" else value[:125]
            for method, path, body in (("POST", "/apikeys?apiKeyTemplateId=CUSTOM", fields_for("CUSTOM") | {field: text}),
                                       ("PUT", f"/apikeys/{key['id']}", {field: text}), ("PUT", f"/apikeys/{key['id']}/duplicate", {field: text})):
                problem = api.refused(400, "KEY_VALUE_IN_TEXT", method, path, body)
                assert value.lower() not in json.dumps(problem).lower()
    api.custom(description="0123456789abcdef" * 3)  # hex that is no key's value


# ---------------------------------------------------------------------------- reading and editing
def test_filters(api):
    keys = {name: api.custom(displayName=name, lifetimeDuration=life) for name, life in
            (("plain", None), ("expiring", "P5D"), ("disabled", None), ("exposed", None))}
    api.put(f"/apikeys/{keys['disabled']['id']}/disable")
    api.post(f"/apikeys/{keys['exposed']['id']}/exposure", {"severity": "LOW", "reason": "found"})
    expected = {"ACTIVE": {"plain", "expiring", "exposed"}, "SOON_TO_BE_DISABLED": set(), "SOON_TO_BE_EXPIRED": {"expiring"},
                "ACTIVE_AND_EXPOSED": {"exposed"}, "WITH_WARNING": {"expiring", "exposed"}, "ALL_EXPOSED": {"exposed"}, "DEACTIVATED": {"disabled"}}
    ids = {key["id"]: name for name, key in keys.items()}
    for status, names in expected.items():
        assert {ids[k["id"]] for k in api.get(f"/apikeys?status={status}") if k["id"] in ids} == names, status
    assert set(ids) <= {k["id"] for k in api.get("/apikeys")}
    api.refused(400, "INVALID_FILTER", "GET", "/apikeys?status=NONE")


def test_the_whole_model_may_be_put_back_and_what_is_fixed_is_refused(api):
    key = api.create("INTEGRATION", **fields_for("INTEGRATION", lifetimeDuration="P30D", permissionsEnabled=True, permissions=[{"object": "a", "action": "b"}]))
    model = api.key(key)
    assert api.put(f"/apikeys/{key['id']}", model).json == model
    changed = api.put(f"/apikeys/{key['id']}", model | {"displayName": "renamed", "description": "d"}).json
    assert changed["displayName"] == "renamed" and changed["description"] == "d"
    assert api.put(f"/apikeys/{key['id']}", {"description": ""}).json == changed | {"description": ""}
    for field, value in {"apiKeyTemplateId": "CUSTOM", "privileges": [VIEW], "permissionsEnabled": False, "permissions": [{"object": "a", "action": "c"}],
                         "value": "0" * 40, "expirationDate": model["expirationDate"] + 86400000, "lifetimeDuration": "P1D", "id": "x" * 26}.items():
        problem = api.refused(409, "FIELD_CANNOT_BE_EDITED", "PUT", f"/apikeys/{key['id']}", model | {field: value})
        assert "new key" in problem["detail"], field
    assert api.key(key) == changed | {"description": ""}
    moved = api.put(f"/apikeys/{key['id']}", {"contact": {"firstName": "Grace", "lastName": "H", "email": "grace@example.net"}}).json
    assert moved["contact"] == {"firstName": "Grace", "lastName": "H", "email": "grace@example.net"}


def test_contacts_are_unique_whatever_their_case(api):
    who = contact(login="Unique", email="Unique@Example.net")
    key = api.create("INTEGRATION", displayName="x", contact=who)
    path = "/apikeys?apiKeyTemplateId=INTEGRATION"
    for clash in ({"login": "Unique"}, {"email": "Unique@Example.net"}, {"email": "UNIQUE@example.NET"}):
        api.refused(409, "CONTACT_NOT_UNIQUE", "POST", path, {"displayName": "y", "contact": contact(**clash)})
    twin = api.put(f"/apikeys/{key['id']}/duplicate").json  # may share it until the source ends
    assert twin["contact"]["email"] == "unique@example.net"
    api.put(f"/apikeys/{key['id']}/revoke")
    api.put(f"/apikeys/{twin['id']}", {"displayName": "still good"})
    api.refused(409, "CONTACT_NOT_UNIQUE", "POST", path, {"displayName": "y", "contact": contact(login="Unique")})
    api.put(f"/apikeys/{twin['id']}/revoke")
    api.create("INTEGRATION", displayName="y", contact=who)
    for bad in ("no-at", "a@b\r\nBcc: x@example.com", "a@" + "b" * 300 + ".com", "<a@example.com>", "a@example.com, b@example.com", "ü@example.com"):
        answer = api.call("POST", path, {"displayName": "y", "contact": contact(email=bad)}, expect=400)
        assert answer.code in ("INVALID_FIELD", "FIELD_TOO_LONG"), bad


# ---------------------------------------------------------------------------- states
def test_disable_and_activate(api, gateway):
    key = api.create("SEARCH_PAGES")
    path = f"/apikeys/{key['id']}"
    for _ in range(2):  # again is no error
        assert api.put(f"{path}/disable").json["status"] == "DISABLED" and gateway.status(key) == 401
    for _ in range(2):
        assert api.put(f"{path}/activate").json["status"] == "ENABLED" and gateway.status(key) == 200
    custom = api.custom()
    api.put(f"/apikeys/{custom['id']}/disable")
    assert "duplicate" in api.refused(409, "API_KEY_CANNOT_BE_REACTIVATED", "PUT", f"/apikeys/{custom['id']}/activate")["detail"]
    assert gateway.status(custom) == 401
    api.refused(409, "API_KEY_NOT_IN_WARNING_PERIOD", "PUT", f"{path}/activation/extend")


def test_duplicate_takes_the_settings_and_new_words(api, gateway):
    key = api.custom(displayName="first", description="of all", allowedIps=["203.0.113.0/24"], lifetimeDuration="P1Y")
    twin = api.put(f"/apikeys/{key['id']}/duplicate", {"displayName": "second", "lifetimeDuration": "P2D"}).json
    assert twin["id"] != key["id"] and twin["value"] != key["value"] and twin["duplicatedFrom"] == key["id"]
    assert (twin["displayName"], twin["description"], twin["allowedIps"]) == ("second", "of all", key["allowedIps"])
    assert twin["expirationDate"] // 1000 == end_of_day(twin["createdDate"] // 1000 + 2 * DAY)
    api.put(f"/apikeys/{key['id']}/revoke")
    again = api.put(f"/apikeys/{key['id']}/duplicate").json  # also of one that ended
    assert gateway.status(again, X_Forwarded_For="203.0.113.1") == 200
    api.refused(409, "FIELD_CANNOT_BE_EDITED", "PUT", f"/apikeys/{key['id']}/duplicate", {"privileges": []})


def test_regenerate_with_and_without_overlap(api, gateway):
    key = api.custom(lifetimeDuration="P1Y")
    values = [key["value"]]

    def regenerate(overlap=""):
        made = api.put(f"/apikeys/{key['id']}/regenerate" + (f"?overlap={overlap}" if overlap else "")).json
        assert made["expirationDate"] == key["expirationDate"] and made["value"] not in values
        values.append(made["value"])

    def good():
        return [gateway.ask(value).status == 200 for value in values]

    regenerate()
    assert good() == [False, True]
    regenerate("P2D")
    assert good() == [False, True, True]
    regenerate("P30D")
    assert good() == [False, False, True, True], "at most two are valid: a second regenerate ends the oldest"
    api.advance(30 * DAY - 60)
    assert good() == [False, False, True, True]
    api.advance(120)
    assert good() == [False, False, False, True]
    for bad in ("P31D", "-P1D", "soon", "31d"):
        api.refused(400, "INVALID_OVERLAP", "PUT", f"/apikeys/{key['id']}/regenerate?overlap={bad}")
    regenerate("1h")
    api.put(f"/apikeys/{key['id']}/revoke")
    assert not any(good()), "revoke ends all"
    api.refused(409, "API_KEY_REVOKED", "PUT", f"/apikeys/{key['id']}/regenerate")


def test_revoke_and_delete(api, gateway):
    key = api.create("SEARCH_PAGES")
    path = f"/apikeys/{key['id']}"
    assert api.put(f"{path}/revoke").json["status"] == "REVOKED" and gateway.status(key) == 401
    for event in ("activate", "disable", "revoke", "regenerate", "activation/extend"):
        api.refused(409, "API_KEY_REVOKED" if event != "activation/extend" else "API_KEY_REVOKED", "PUT", f"{path}/{event}")
    other = api.create("SEARCH_PAGES")
    assert api.delete(f"/apikeys/{other['id']}").status == 204 and gateway.status(other) == 401
    api.refused(404, "API_KEY_NOT_FOUND", "GET", f"/apikeys/{other['id']}")
    log = api.post("/activities/public", {"resourceIds": [other["id"]]}).json["items"]
    assert [row["operation"] for row in log] == ["DELETE", "CREATE"], "its activity stays"


def test_bulk_is_all_or_nothing(api, gateway):
    keys = [api.create("SEARCH_PAGES") for _ in range(3)]
    ids = [key["id"] for key in keys]
    api.put("/apikeys/disable/bulk", ids, expect=204)
    assert [gateway.status(key) for key in keys] == [401] * 3
    api.put(f"/apikeys/{ids[2]}/revoke")
    problem = api.refused(409, "API_KEY_REVOKED", "PUT", "/apikeys/activate/bulk", ids)
    assert problem["id"] == ids[2] and "Nothing" in problem["detail"]
    assert [api.status(key) for key in keys] == ["DISABLED", "DISABLED", "REVOKED"]
    api.refused(404, "API_KEY_NOT_FOUND", "POST", "/apikeys/delete/bulk", ids + ["a" * 26])
    api.put("/apikeys/activate/bulk", ids[:2] + ids[:1], expect=204)
    assert [gateway.status(key) for key in keys] == [200, 200, 401]
    api.post("/apikeys/delete/bulk", ids, expect=204)
    assert [gateway.status(key) for key in keys] == [401] * 3
    for body in ({}, [1], None, "x"):
        assert api.send("PUT", f"{api.org}/apikeys/disable/bulk", json.dumps(body)).status == 400
    api.put("/apikeys/disable/bulk", [], expect=204)


# ---------------------------------------------------------------------------- hostile words
def test_hostile_words_stay_words(api, gateway):
    for text in HOSTILE:
        key = api.custom(displayName=text, description=text)
        shown = api.key(key)
        assert shown["displayName"] == text and shown["description"] == text
        answer = gateway.ask(key["value"])
        assert answer.status == 200 and "bcc" not in answer.headers
        api.put(f"/apikeys/{key['id']}", {"displayName": text + "!"})
        api.refused(400, "INVALID_IP_RANGE", "PUT", f"/apikeys/{key['id']}", {"allowedIps": [text]})
        api.refused(400, "UNKNOWN_GROUP", "PUT", f"/apikeys/{key['id']}", {"groupsThatCanEdit": [{"id": text}]})
        assert gateway.ask(text.encode("utf-8", "ignore").replace(b"\r\n", b" ").decode("latin-1")).status == 401
        api.post("/activities/public", {"actor": text, "resourceIds": [text], "operations": [text]})
    assert api.get("/apikeys"), "the table is still there"


# ---------------------------------------------------------------------------- who may
@pytest.fixture(scope="module")
def people(instance, api):
    """Three administrators with tokens: of everything, of keys only, and a viewer."""
    instance.ctl("admin", "group", "put", "Keys", "--privilege", "PLATFORM/API_KEY/EDIT", "--privilege", "PLATFORM/SOURCE/VIEW")
    instance.ctl("admin", "group", "put", "Viewers", "--privilege", "PLATFORM/API_KEY/VIEW")
    made = {"all": Api(instance, instance.env["SALLYPORT_ADMIN_TOKEN"])}
    for name, group in (("keys", "Keys"), ("viewer", "Viewers")):
        instance.ctl("admin", "create", f"{name}@example.org", "--group", group)
        made[name] = Api(instance, instance.ctl("admin", "token", "create", f"{name}@example.org", "--lifetime", "P1Y").strip())
    made["groups"] = {g["name"]: g["id"] for g in api.get("/admin/groups")["items"]}
    return made


def test_nobody_grants_what_they_lack(people, api):
    editor, edit = people["keys"], {"owner": "PLATFORM", "targetDomain": "SOURCE", "type": "EDIT"}
    problem = editor.refused(403, "MISSING_PRIVILEGES", "POST", "/apikeys?apiKeyTemplateId=CUSTOM", fields_for("CUSTOM", privileges=[VIEW, edit]))
    assert problem["missingPrivileges"] == [edit] or problem["missingPrivileges"] == [VIEW, edit], problem
    strong = api.create("AUTHENTICATED_SEARCH")
    for event in ("duplicate", "regenerate"):
        problem = editor.refused(403, "MISSING_PRIVILEGES", "PUT", f"/apikeys/{strong['id']}/{event}")
        assert {p["targetDomain"] for p in problem["missingPrivileges"]} == {"EXECUTE_QUERY", "IMPERSONATE", "ANALYTICS_DATA"}
    editor.put(f"/apikeys/{strong['id']}/disable")
    editor.refused(403, "MISSING_PRIVILEGES", "PUT", f"/apikeys/{strong['id']}/activate")
    editor.refused(403, "MISSING_PRIVILEGES", "PUT", "/apikeys/activate/bulk", [strong["id"]])
    assert api.status(strong) == "DISABLED"
    assert {t["template"]["id"] if "template" in t else t.get("id") for t in editor.get("/templates/apikeys/privileges/eligibility")} is not None


def test_viewers_view(people, api):
    key = api.create("SEARCH_PAGES")
    viewer = people["viewer"]
    assert viewer.key(key)["id"] == key["id"]
    for method, path, body in (("POST", "/apikeys?apiKeyTemplateId=SEARCH_PAGES", {"displayName": "x"}), ("PUT", f"/apikeys/{key['id']}", {"displayName": "x"}),
                               ("PUT", f"/apikeys/{key['id']}/revoke", None), ("DELETE", f"/apikeys/{key['id']}", None),
                               ("POST", f"/apikeys/{key['id']}/exposure", {"severity": "CRITICAL", "reason": "x"}), ("POST", "/activities/public", {})):
        assert viewer.call(method, path, body, expect=403).code
    assert viewer.send("GET", "/admin/status").status == 404, "admin routes are not on TCP"
    assert api.key(key)["displayName"] == "a key"


def test_outside_the_groups_a_key_does_not_exist(people, api, gateway):
    groups = people["groups"]
    editor, viewer = people["keys"], people["viewer"]
    key = api.custom(groupsThatCanEdit=[{"id": groups["Administrators"]}], groupsThatCanView=[groups["Viewers"]])
    assert viewer.key(key)["id"] == key["id"], "edit implies view, and so does view"
    editor.refused(404, "API_KEY_NOT_FOUND", "GET", f"/apikeys/{key['id']}")
    for event in ("disable", "activate", "revoke", "regenerate", "duplicate", "activation/extend"):
        editor.refused(404, "API_KEY_NOT_FOUND", "PUT", f"/apikeys/{key['id']}/{event}")
    editor.refused(404, "API_KEY_NOT_FOUND", "PUT", f"/apikeys/{key['id']}", {"displayName": "x"})
    editor.refused(404, "API_KEY_NOT_FOUND", "DELETE", f"/apikeys/{key['id']}")
    editor.refused(404, "API_KEY_NOT_FOUND", "POST", "/exposures", {"id": key["id"], "severity": "HIGH", "reason": "x"})
    editor.refused(404, "API_KEY_NOT_FOUND", "POST", "/exposures", {"value": key["value"], "severity": "HIGH", "reason": "x"})
    editor.refused(404, "API_KEY_NOT_FOUND", "PUT", "/apikeys/disable/bulk", [key["id"]])
    assert key["id"] not in {k["id"] for k in editor.get("/apikeys")}
    assert key["id"] in {k["id"] for k in people["all"].get("/apikeys")} and gateway.status(key) == 200
    api.put(f"/apikeys/{key['id']}", {"groupsThatCanEdit": [], "groupsThatCanView": []})
    assert editor.key(key)["id"] == key["id"], "both empty: all"


def test_tokens_that_are_no_good(instance, people, api):
    for token in ("", "nonsense", "spat_" + "0" * 64, instance.env["SALLYPORT_GATEWAY_TOKEN"], api.custom()["value"]):
        answer = Api(instance, token).send("GET", f"{api.org}/apikeys")
        assert answer.status == 401 and "www-authenticate" in answer.headers, token
    instance.ctl("admin", "create", "short@example.org")
    short = Api(instance, instance.ctl("admin", "token", "create", "short@example.org", "--lifetime", "P1D").strip())
    short.get("/apikeys")
    api.advance(3 * DAY)
    assert short.send("GET", f"{api.org}/apikeys").status == 401, "expired"
    people["viewer"].get("/apikeys")
    instance.ctl("admin", "disable", "viewer@example.org")
    assert people["viewer"].send("GET", f"{api.org}/apikeys").status == 401
    instance.ctl("admin", "enable", "viewer@example.org")


# ---------------------------------------------------------------------------- templates, exposure by any name
def test_templates_are_told(api):
    told = {t["id"]: t for t in api.get("/templates/apikeys")}
    assert set(told) == set(TEMPLATES)
    for template, (privacy, _) in TEMPLATES.items():
        assert api.get(f"/templates/apikeys/{template}") == told[template] and told[template]["privacyLevel"] == privacy
    assert api.send("GET", f"{api.org}/templates/apikeys/NONE").status == 404


def test_a_key_is_reported_by_id_value_or_hash_also_of_a_retired_value(api):
    key = api.custom()
    retired = key["value"]
    api.put(f"/apikeys/{key['id']}/regenerate")
    names = [{"id": key["id"]}, {"value": retired}, {"sha256": hashlib.sha256(retired.encode()).hexdigest()}]
    outcomes = []
    for number, name in enumerate(names):
        body = name | {"severity": "LOW", "reason": f"report {number}", "url": f"https://example.com/{number}", "source": "API"}
        outcomes.append(api.post("/exposures", body).json["outcome"])
        assert api.post("/exposures", body, expect=200).json["outcome"] == "REPEATED"
    assert outcomes == ["FLAGGED", "ADDED", "ADDED"]
    report = api.key(key)["exposureReport"]
    assert [r["reason"] for r in report["reasons"]] == ["report 0", "report 1", "report 2"] and report["creationType"] == "MANUAL"
    assert set(report) >= {"severity", "reasons", "deactivationDate", "creationType", "createdBy"}
    assert set(report["reasons"][0]) >= {"id", "reason", "source", "url", "createdDate"}
    for body in ({}, {"id": key["id"], "value": retired}, {"id": key["id"], "severity": "BAD"}, {"sha256": "xx"}):
        assert api.call("POST", "/exposures", {"severity": "LOW", "reason": "x"} | body, expect=400).code
    api.refused(404, "API_KEY_NOT_FOUND", "POST", "/exposures", {"value": "0" * 40, "severity": "LOW", "reason": "x"})
    assert instant(report["deactivationDate"]) == instant(report["reasons"][0]["createdDate"]) + 14 * DAY
