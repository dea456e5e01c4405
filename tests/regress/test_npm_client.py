"""The published client of the API that the routes follow, unmodified, against a real daemon."""
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

CLIENT = "@coveo/platform-client@60.4.0"
PUSH = {"owner": "PLATFORM", "targetDomain": "SOURCE", "type": "VIEW", "targetId": "*"}
DAY = 24 * 60 * 60 * 1000

pytestmark = pytest.mark.long  # it fetches the client from the npm registry


class ClientError(Exception):
    def __init__(self, error):
        super().__init__(str(error))
        self.error = error


class Client:
    """client.apiKey.create(...) as JavaScript would write it."""

    def __init__(self, directory, env):
        self.process = subprocess.Popen(["node", directory / "platform_client.mjs"], text=True, cwd=directory,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **env})

    def call(self, name, *args):
        self.process.stdin.write(json.dumps({"call": name, "args": args}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["result"]

    def refused(self, status, name, *args):
        with pytest.raises(ClientError) as caught:
            self.call(name, *args)
        error = caught.value.error
        assert error["name"] == "CoveoPlatformClientError" and error["status"] == status, error
        assert error["title"] and error["detail"] and error["xRequestId"] not in ("", "unknown"), error
        return error

    def create(self, name="push", template="CUSTOM", **more):
        model = {"displayName": name, "description": "made by the client", **more}
        if template == "CUSTOM":
            model.setdefault("privileges", [PUSH])
        return self.call("apiKey.create", model, {"apiKeyTemplateId": template})

    def ids(self, status=None):
        return {key["id"] for key in self.call("apiKey.list", *([{"status": status}] if status else []))}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    assert shutil.which("npm") and shutil.which("node"), "install nodejs and npm: this runs the published client"
    directory = tmp_path_factory.mktemp("npm")
    (directory / "package.json").write_text('{"name": "throw-away", "private": true, "type": "module"}\n')
    made = subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", CLIENT], cwd=directory,
                          text=True, capture_output=True, timeout=300, check=False)
    assert made.returncode == 0, f"npm install {CLIENT}: {made.stdout}{made.stderr}"
    shutil.copy(pathlib.Path(__file__).with_name("platform_client.mjs"), directory)
    return directory


@pytest.fixture
def client(installed, instance):
    made = Client(installed, instance.env)
    yield made
    made.process.stdin.close()
    assert made.process.wait(30) == 0


def test_a_key_is_created_read_and_listed_and_its_value_is_shown_once(client, instance):
    before = time.time() * 1000
    key = client.create("reader", lifetimeDuration="P1M", allowedIps=["198.51.100.0/24"], deniedIps=["198.51.100.7"])
    assert len(key["value"]) == 40 and int(key["value"], 16)
    assert key["resourceId"] == key["id"] and key["organizationId"] == instance.env["SALLYPORT_ORG"]
    assert key["status"] == "ENABLED" and key["enabled"] is True and key["privacyLevel"] == "PRIVATE"
    assert key["createdBy"] == "admin@example.org"
    assert before - 2000 <= key["createdDate"] <= time.time() * 1000 + 2000
    assert 28 * DAY < key["expirationDate"] - key["createdDate"] < 33 * DAY and key["expirationDate"] % DAY == 0

    read = client.call("apiKey.get", key["id"])
    assert read["value"] == "xx*****" + key["value"][-4:]
    assert {k: v for k, v in read.items() if k != "value"} == {k: v for k, v in key.items() if k != "value"}
    listed = [k for k in client.call("apiKey.list") if k["id"] == key["id"]]
    assert listed == [read]
    assert instance.verify(key["value"], headers=["X-Forwarded-For: 198.51.100.1"]) == 200
    assert instance.verify(key["value"], headers=["X-Forwarded-For: 198.51.100.7"]) == 401


def test_the_model_that_get_gave_can_be_put_back_changed(client):
    key = client.create("before")
    model = client.call("apiKey.get", key["id"])
    client.call("apiKey.update", {**model, "displayName": "after", "allowedIps": ["203.0.113.5"]})
    now = client.call("apiKey.get", key["id"])
    assert now["displayName"] == "after" and now["allowedIps"] == ["203.0.113.5"]
    assert now["privileges"] == model["privileges"] and now["expirationDate"] == model["expirationDate"]
    other = [{**PUSH, "type": "EDIT"}]
    assert "new key" in client.refused(409, "apiKey.update", {**now, "privileges": other})["detail"]
    assert "125" in client.refused(400, "apiKey.update", {**now, "displayName": "x" * 126})["detail"]


def test_a_duplicate_has_the_settings_and_a_value_of_its_own(client, instance):
    key = client.create("source")
    twin = client.call("apiKey.duplicate", key["id"], {"displayName": "twin", "lifetimeDuration": "P1Y"})
    assert twin["id"] != key["id"] and twin["displayName"] == "twin" and twin["privileges"] == key["privileges"]
    assert len(twin["value"]) == 40 and twin["value"] != key["value"]
    assert twin["expirationDate"] - twin["createdDate"] > 364 * DAY
    assert instance.verify(twin["value"]) == 200


def test_toggle_disables_and_activates_what_may_be_activated(client, instance):
    key = client.create("search", "ANONYMOUS_SEARCH")
    client.call("apiKey.toggle", client.call("apiKey.get", key["id"]))
    now = client.call("apiKey.get", key["id"])
    assert now["status"] == "DISABLED" and now["enabled"] is False and now["disabledDate"]
    assert instance.verify(key["value"]) == 401
    assert key["id"] in client.ids("DEACTIVATED") and key["id"] not in client.ids("ACTIVE")
    client.call("apiKey.toggle", now)
    assert client.call("apiKey.get", key["id"])["status"] == "ENABLED" and instance.verify(key["value"]) == 200

    custom = client.create("custom")
    client.call("apiKey.disable", custom["id"])
    assert "reactivated" in client.refused(409, "apiKey.activate", custom["id"])["detail"]


def test_several_keys_change_together_or_not_at_all(client, instance):
    keys = [client.create(f"bulk {n}", "ANONYMOUS_SEARCH") for n in range(3)]
    ids = [k["id"] for k in keys]
    client.call("apiKey.disable", ids)
    assert {instance.verify(k["value"]) for k in keys} == {401} and set(ids) <= client.ids("DEACTIVATED")
    client.call("apiKey.activate", ids)
    assert {instance.verify(k["value"]) for k in keys} == {200} and set(ids) <= client.ids("ACTIVE")
    client.refused(404, "apiKey.disable", [ids[0], "a" * 26])
    client.refused(404, "apiKey.delete", [ids[0], "a" * 26])
    assert set(ids) <= client.ids("ACTIVE") and instance.verify(keys[0]["value"]) == 200
    client.call("apiKey.disable", ids[:1])  # an array of one is the single call
    assert client.call("apiKey.get", ids[0])["status"] == "DISABLED"
    client.call("apiKey.activate", ids[:1])
    client.call("apiKey.delete", ids[:2])
    client.call("apiKey.delete", ids[2:])
    assert not set(ids) & client.ids() and {instance.verify(k["value"]) for k in keys} == {401}
    assert client.refused(404, "apiKey.get", ids[0])["errorCode"]


def test_templates_and_what_the_caller_may_create(client):
    template = client.call("apiKeyTemplate.get", "ANONYMOUS_SEARCH")
    assert template["id"] == "ANONYMOUS_SEARCH" and template["displayName"]
    assert {"owner": "SEARCH_API", "targetDomain": "EXECUTE_QUERY"}.items() <= template["privileges"][0].items()
    rows = client.call("apiKeyTemplate.listAPIKeysEligibility")
    assert {"ANONYMOUS_SEARCH", "AUTHENTICATED_SEARCH", "USAGE_ANALYTICS", "SEARCH_PAGES", "CUSTOM", "INTEGRATION"} == {r["id"] for r in rows}
    assert all(r["canGenerate"] is True and r["missingPrivileges"] == [] for r in rows)
    client.refused(404, "apiKeyTemplate.get", "NOPE")


def test_activities_tell_what_was_done_and_never_a_value(client):
    key = client.create("audited")
    client.call("apiKey.disable", key["id"])
    client.refused(409, "apiKey.activate", key["id"])
    page = client.call("activity.list", {"page": 0, "perPage": 2}, {"resourceIds": [key["id"]], "resourceTypes": ["API_KEY"]})
    assert page["totalEntries"] == 3 and page["totalPages"] == 2 and len(page["items"]) == 2
    rest = client.call("activity.list", {"page": 1, "perPage": 2}, {"resourceIds": [key["id"]]})
    rows = page["items"] + rest["items"]
    assert [(r["operation"], r["result"]) for r in rows] == [("ENABLE", "FAILURE"), ("DISABLE", "SUCCESS"), ("CREATE", "SUCCESS")]
    assert key["value"] not in json.dumps(rows)
    assert all(r["triggeredBy"]["id"] == "admin@example.org" for r in rows)
    assert client.call("activity.get", rows[0]["id"]) == rows[0]
    assert {"ENABLE", "DISABLE", "CREATE"} <= set(client.call("activity.getOperationTypes"))
    assert "API_KEY" in client.call("activity.getResourceTypes")
    assert "CREATE" in client.call("activity.getListOfResourcesAndOperations")["API_KEY"]


def test_a_key_that_is_about_to_be_disabled_is_extended_and_one_about_to_expire_is_listed(client, instance):
    idle = client.create("idle", "ANONYMOUS_SEARCH")
    client.refused(409, "apiKey.extend", idle["id"])  # nothing to extend yet
    instance.advance("340d")
    short = client.create("short", lifetimeDuration="P6D")
    assert idle["id"] in client.ids("SOON_TO_BE_DISABLED") and short["id"] in client.ids("SOON_TO_BE_EXPIRED")
    assert client.call("apiKey.get", idle["id"])["status"] == "SOON_TO_BE_DISABLED"
    client.call("apiKey.extend", idle["id"])
    now = client.call("apiKey.get", idle["id"])
    assert now["status"] == "ENABLED" and now["extensionDate"] > now["activationDate"]
    assert idle["id"] not in client.ids("SOON_TO_BE_DISABLED")


def test_a_token_that_nobody_has_is_refused(installed, instance):
    stranger = Client(installed, {**instance.env, "SALLYPORT_ADMIN_TOKEN": "spat_" + "0" * 64})
    assert stranger.refused(401, "apiKey.list")["detail"]
    stranger.process.stdin.close()
    stranger.process.wait(30)
