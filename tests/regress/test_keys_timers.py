"""The three timers of keys day by day: states, verification to the second, mails at the sink, the ledger."""
import collections

import pytest

from keys_api import Api, DAY, Gateway, Mails, instant, texts, visible
from test_keys import HOSTILE, contact

ADMINS = ["admin@example.org", "second@example.org"]
SECURITY = "security@example.org"


class World:
    def __init__(self, instance):
        self.instance, self.api, self.gateway, self.mails = instance, Api(instance), Gateway(instance), Mails(instance)

    def to(self, millis, seconds=0):
        """Moves the clock to `seconds` after an instant that the API gave."""
        by = millis // 1000 + seconds - self.api.now() // 1000
        assert by > 0, by
        self.api.advance(by)

    def told(self, key):
        """New mails about the key: {(kind, offset in days): recipients}. No mail about another key is lost: there is none."""
        found = collections.defaultdict(list)
        self.last = []
        for mail in self.mails.take():
            assert mail["X-Sallyport-Subject"] == key["id"], mail["Subject"]
            assert mail["X-Envelope-To"] == mail["To"].addresses[0].addr_spec and len(mail["To"].addresses) == 1
            found[(mail["X-Sallyport-Kind"], round(int(mail["X-Sallyport-Offset"] or 0) / DAY, 3))].append(mail["X-Envelope-To"])
            self.last.append(mail)
        return {what: sorted(to) for what, to in found.items()}

    def ledger(self, key):
        return collections.Counter((n["kind"], n["offset"] // DAY, n["state"]) for n in self.api.notices(key["id"]))

    def gone(self, *keys):
        self.api.post("/apikeys/delete/bulk", [key["id"] for key in keys], expect=204)
        self.api.advance(1)  # nothing is being sent any more
        self.mails.take()


@pytest.fixture
def world(instance):
    world = World(instance)
    if not hasattr(instance, "second"):
        instance.ctl("admin", "create", "second@example.org")
        instance.second = True
    yield world
    world.gone(*world.api.get("/apikeys"))


@pytest.fixture(scope="module")
def instance():
    from conftest import Instance
    made = Instance("--option", f'notify.security_contact="{SECURITY}"')
    yield made
    made.down()


# ---------------------------------------------------------------------------- expiry
def test_expiry_by_seven_days_two_days_and_after(world):
    who = contact()
    key = world.api.create("INTEGRATION", displayName="bridge", contact=who, lifetimeDuration="P20D")
    ends, everybody = key["expirationDate"], sorted(ADMINS + [who["email"]])
    world.to(ends, -7 * DAY - 5)
    assert world.told(key) == {} and world.api.status(key) == "ENABLED"
    world.to(ends, -7 * DAY)
    assert world.told(key) == {("key_expiring", 7): everybody} and world.api.status(key) == "SOON_TO_BE_EXPIRED"
    for mail in world.last:
        plain, html = texts(mail)
        assert "bridge" in mail["Subject"] and key["id"] in plain and key["id"] in visible(html) and "in 7 days" in plain
        assert mail["List-Id"] and mail["Auto-Submitted"] == "auto-generated" and mail["Message-ID"]
        assert key["value"] not in plain + html and who["login"] not in plain + html
        assert (f"key duplicate {key['id']}" in plain) == (mail["X-Envelope-To"] in ADMINS) and "You receive this because" in plain
    world.to(ends, -2 * DAY)
    assert world.told(key) == {("key_expiring", 2): everybody}
    world.to(ends, -5)
    assert world.told(key) == {} and world.gateway.status(key) == 200, "good through 23:59:59"
    world.to(ends)
    assert world.gateway.status(key) == 401 and world.api.status(key) == "EXPIRED"
    assert world.told(key) == {("key_expired", 0): everybody}
    for event in ("activate", "disable", "regenerate", "revoke"):
        world.api.refused(409, "API_KEY_EXPIRED", "PUT", f"/apikeys/{key['id']}/{event}")
    world.api.advance(400 * DAY)
    assert world.told(key) == {}
    log = world.api.post("/activities/public", {"resourceIds": [key["id"]], "operations": ["EXPIRE"]}).json["items"]
    assert len(log) == 1 and log[0]["triggeredBy"]["displayName"] == "scheduler"


def test_verification_does_not_wait_for_a_pass(make_instance):
    """The instant itself counts, even while the store is locked and no pass can run."""
    import sqlite3
    instance = make_instance()
    api, gateway = Api(instance), Gateway(instance)
    key = api.custom(lifetimeDuration="P1D")
    api.advance(key["expirationDate"] // 1000 - api.now() // 1000 - 4)
    lock = sqlite3.connect(instance.dir / "sallyport.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    from conftest import wait_for
    assert gateway.status(key) == 200
    wait_for("the second is over", lambda: gateway.status(key) == 401, 15)
    assert api.now() // 1000 >= key["expirationDate"] // 1000
    lock.rollback()
    lock.close()


def test_what_was_passed_at_creation_is_not_applicable(world):
    key = world.api.custom(lifetimeDuration="P1D")
    assert world.ledger(key) == {("key_expiring", 7, "not_applicable"): 2, ("key_expiring", 2, "not_applicable"): 2}
    assert world.api.status(key) == "SOON_TO_BE_EXPIRED"
    world.to(key["expirationDate"])
    assert world.told(key) == {("key_expired", 0): ADMINS}


def test_a_disabled_key_expires_without_mail(world):
    key = world.api.custom(lifetimeDuration="P30D")
    world.api.put(f"/apikeys/{key['id']}/disable")
    world.to(key["expirationDate"])
    assert world.api.status(key) == "EXPIRED" and world.told(key) == {}
    assert all(state == "not_applicable" for _, _, state in world.ledger(key))


def test_after_three_weeks_of_sleep_only_the_tightest_is_mailed(world):
    early = world.api.custom(lifetimeDuration="P20D")
    late = world.api.custom(lifetimeDuration="P22D")
    world.instance.stop("daemon")
    world.instance.restart()  # the test clock is where it was
    world.api, world.gateway = Api(world.instance), Gateway(world.instance)
    world.api.advance(21 * DAY)
    found = collections.Counter((m["X-Sallyport-Subject"], m["X-Sallyport-Kind"], m["X-Sallyport-Offset"]) for m in world.mails.take())
    assert found == {(early["id"], "key_expired", None): 2, (late["id"], "key_expiring", "172800"): 2} or \
        found == {(early["id"], "key_expired", "0"): 2, (late["id"], "key_expiring", "172800"): 2}, found
    assert world.ledger(late) == {("key_expiring", 7, "superseded"): 2, ("key_expiring", 2, "sent"): 2}
    assert world.ledger(early)[("key_expiring", 2, "superseded")] == 2


# ---------------------------------------------------------------------------- inactivity
def inactive_on(key, world):
    return next(t["deadline"] for t in world.api.get(f"/admin/keys/why?id={key['id']}")["timers"] if t["timer"] == "INACTIVITY")


def test_inactivity_by_30_15_and_1_day_and_after(world):
    key = world.api.create("SEARCH_PAGES", displayName="forgotten")
    ends = inactive_on(key, world)
    for days, told in ((30, True), (15, True), (1, True)):
        world.to(ends, -days * DAY - 5)
        assert world.told(key) == {}
        world.to(ends, -days * DAY)
        assert world.told(key) == {("key_inactive", days): ADMINS}
        assert world.api.status(key) == "SOON_TO_BE_DISABLED"
    world.to(ends, 3)
    assert world.told(key) == {("key_inactive_disabled", 0): ADMINS}
    assert world.api.status(key) == "DISABLED_FOR_INACTIVITY" and world.gateway.status(key) == 401
    world.api.refused(409, "API_KEY_DISABLED_FOR_INACTIVITY", "PUT", f"/apikeys/{key['id']}/regenerate")
    world.api.refused(409, "API_KEY_NOT_ENABLED", "PUT", f"/apikeys/{key['id']}/activation/extend")
    assert world.api.put(f"/apikeys/{key['id']}/activate").json["status"] == "ENABLED" and world.gateway.status(key) == 200
    assert inactive_on(key, world) > ends + 360 * DAY * 1000


@pytest.mark.parametrize("value", ["good", "denied"])
def test_a_use_in_the_warning_period_starts_anew_and_cancels_what_is_unsent(world, value):
    try:
        world.instance.command("ctl", "admin", "create", "defer@example.org", check=False)  # a mailbox that is always busy
        world.instance.ctl("admin", "enable", "defer@example.org")
        key = world.api.create("SEARCH_PAGES", deniedIps=["9.9.9.9"])
        ends = inactive_on(key, world)
        world.to(ends, -30 * DAY)
        assert world.told(key) == {("key_inactive", 30): ADMINS}
        assert world.ledger(key)[("key_inactive", 30, "pending")] == 1
        status = world.gateway.status(key, X_Forwarded_For="9.9.9.9" if value == "denied" else "8.8.8.8")
        assert status == (200 if value == "good" else 401)
        world.api.advance(30)  # flushed, seen
        assert world.api.status(key) == "ENABLED" and world.ledger(key)[("key_inactive", 30, "cancelled")] == 1
        assert inactive_on(key, world) > ends
        used = world.api.key(key)
        assert ("lastAllowedDate" in used) == (value == "good") and "lastUsedDate" in used
        world.to(ends, 10)
        assert world.told(key) == {} and world.gateway.status(key, X_Forwarded_For="8.8.8.8") == 200
    finally:
        world.instance.ctl("admin", "disable", "defer@example.org")


def test_extend_in_the_warning_period(world):
    key = world.api.create("SEARCH_PAGES")
    ends = inactive_on(key, world)
    world.to(ends, -10 * DAY)
    world.mails.take()
    extended = world.api.put(f"/apikeys/{key['id']}/activation/extend").json
    assert extended["status"] == "ENABLED" and extended["extensionDate"] // 1000 >= ends // 1000 - 10 * DAY
    world.to(ends, 10)
    assert world.told(key) == {} and world.api.status(key) == "ENABLED"
    world.api.refused(409, "API_KEY_NOT_IN_WARNING_PERIOD", "PUT", f"/apikeys/{key['id']}/activation/extend")


def test_nothing_imported_old_is_disabled_without_warning(world, scratch):
    value = "an-existing-value-0001"
    path = scratch / "keys.csv"
    path.write_text(f"displayName,apiKeyTemplateId,value,createdDate,lastUsedDate\nold,SEARCH_PAGES,{value},2020-01-01,2021-01-01\n")
    dry = world.instance.json("key", "import", "--dry-run", path)
    predicted = [(e["what"], e.get("kind") or e.get("status"), e["at"]) for e in dry["next60Days"]]
    assert world.api.get("/apikeys") == [] and predicted
    world.instance.json("key", "import", path)
    (key,) = world.api.get("/apikeys")
    world.api.advance(60)
    assert world.told(key) == {("key_inactive", 1): ADMINS}
    assert world.gateway.ask("x" * 20).status == 401
    ends = inactive_on(key, world)
    assert ends // 1000 >= world.api.now() // 1000 + DAY - 120, "a whole day after the warning was accepted"
    world.to(ends, -5)
    assert world.api.status(key) == "SOON_TO_BE_DISABLED"
    world.to(ends, 5)
    assert world.told(key) == {("key_inactive_disabled", 0): ADMINS} and world.api.status(key) == "DISABLED_FOR_INACTIVITY"
    assert [p[:2] for p in predicted] == [("MAIL", "key_inactive"), ("TRANSITION", "DISABLED_FOR_INACTIVITY"), ("MAIL", "key_inactive_disabled")]
    assert predicted[1][2] == ends


def test_without_an_accepted_warning_the_key_stays_and_health_says_so(make_instance):
    instance = make_instance()
    instance.ctl("admin", "create", "defer@example.org")
    instance.ctl("admin", "disable", "admin@example.org")
    world = World(instance)
    key = world.api.create("SEARCH_PAGES")
    ends = inactive_on(key, world)
    world.to(ends, -2 * DAY)
    world.to(ends, DAY)
    assert world.gateway.status(key) == 200 or world.api.status(key) == "SOON_TO_BE_DISABLED"
    assert "keys.inactivity_pending" in {c["name"] for c in world.api.get("/admin/status")["health"]}
    assert world.api.get(f"/admin/keys/why?id={key['id']}")


# ---------------------------------------------------------------------------- exposure
def expose(world, key, severity, number=0, **more):
    return world.api.post(f"/apikeys/{key['id']}/exposure", {"severity": severity, "reason": f"found {number}", "source": "API",
                                                             "url": f"https://example.com/{number}"} | more).json


def test_exposure_by_flag_three_days_24_hours_and_after(world):
    everybody = sorted(ADMINS + [SECURITY])
    key = world.api.custom(lifetimeDuration=None)
    answer = expose(world, key, "MEDIUM")
    ends = answer["apiKey"]["exposureReport"]["deactivationDate"]
    assert answer["outcome"] == "FLAGGED" and world.gateway.status(key) == 200
    world.api.advance(1)
    assert world.told(key) == {("exposure_flagged", 0): everybody}
    assert all("found 0" in texts(mail)[0] and "https://example.com/0" in texts(mail)[0] for mail in world.last)
    assert expose(world, key, "LOW", 1)["apiKey"]["exposureReport"]["deactivationDate"] == ends, "never moved back"
    world.api.advance(1)
    told = world.told(key)
    assert list(told.values()) == [everybody] and [k for k, _ in told] == ["exposure_reported"] and "found 1" in texts(world.last[0])[0]
    world.api.refused(409, "API_KEY_EXPOSED", "PUT", f"/apikeys/{key['id']}/regenerate")
    world.to(ends, -3 * DAY)
    assert world.told(key) == {("exposure_deadline", 3): everybody}
    world.to(ends, -DAY)
    assert world.told(key) == {("exposure_deadline", 1): everybody}
    world.to(ends, -5)
    assert world.gateway.status(key) == 200
    world.to(ends)
    assert world.gateway.status(key) == 401 and world.told(key) == {("exposure_disabled", 0): everybody}
    assert world.api.status(key) == "DISABLED_EXPOSED"
    world.api.refused(409, "API_KEY_EXPOSED", "PUT", f"/apikeys/{key['id']}/activate")
    world.api.refused(409, "EXPOSURE_DEADLINE_PASSED", "DELETE", f"/apikeys/{key['id']}/exposure?reason=late")


@pytest.mark.parametrize("severity,days", [("HIGH", 2), ("MEDIUM", 7), ("LOW", 14), ("WARN", 30)])
def test_severity_sets_the_deadline(world, severity, days):
    key = world.api.create("AUTHENTICATED_SEARCH")
    report = expose(world, key, severity)["apiKey"]["exposureReport"]
    assert instant(report["deactivationDate"]) == instant(report["reasons"][0]["createdDate"]) + days * DAY
    states = world.ledger(key)
    assert states.get(("exposure_deadline", 3, "not_applicable"), 0) == (3 if days < 3 else 0)


def test_critical_sends_one_mail_and_ends_at_once(world):
    key = world.api.custom()
    assert expose(world, key, "CRITICAL")["apiKey"]["status"] == "DISABLED_EXPOSED" and world.gateway.status(key) == 401
    world.api.advance(10 * DAY)
    assert world.told(key) == {("exposure_critical", 0): sorted(ADMINS + [SECURITY])}


def test_a_worse_report_brings_the_deadline_forward(world):
    key = world.api.custom(lifetimeDuration=None)
    first = expose(world, key, "WARN")["apiKey"]["exposureReport"]["deactivationDate"]
    second = expose(world, key, "HIGH", 1)["apiKey"]["exposureReport"]
    assert second["deactivationDate"] < first and second["severity"] == "HIGH"
    expose(world, key, "CRITICAL", 2)
    assert world.gateway.status(key) == 401 and world.api.status(key) == "DISABLED_EXPOSED"


def test_a_public_key_is_only_recorded_unless_there_is_suspicious_activity(world):
    key = world.api.create("SEARCH_PAGES")
    answer = expose(world, key, "CRITICAL")
    assert answer["outcome"] == "RECORDED" and "deactivationDate" not in answer["apiKey"]["exposureReport"]
    world.api.advance(5 * DAY)
    assert world.told(key) == {} and world.gateway.status(key) == 200
    assert expose(world, key, "HIGH", 1, suspiciousActivity=True)["outcome"] == "FLAGGED"
    world.api.advance(2 * DAY + 1)
    assert world.gateway.status(key) == 401


def test_withdrawing_a_false_report(world):
    key = world.api.custom(lifetimeDuration=None)
    expose(world, key, "MEDIUM")
    world.api.advance(1)
    assert list(world.told(key)) == [("exposure_flagged", 0)]
    path = f"/apikeys/{key['id']}/exposure"
    world.api.refused(400, "FIELD_REQUIRED", "DELETE", path)
    world.api.refused(400, "FIELD_REQUIRED", "DELETE", path + "?reason=%20")
    world.api.delete(path + "?reason=it%20was%20a%20test%20file")
    assert "exposureReport" not in world.api.key(key)
    world.api.advance(1)
    assert world.told(key) == {("exposure_withdrawn", 0): sorted(ADMINS + [SECURITY])}
    assert all("it was a test file" in texts(mail)[0] for mail in world.last)
    assert expose(world, key, "MEDIUM")["outcome"] == "NOT_APPLIED", "the same report again is recorded, not applied"
    world.api.refused(409, "API_KEY_NOT_EXPOSED", "DELETE", path + "?reason=x")
    world.api.advance(30 * DAY)
    assert world.told(key) == {} and world.gateway.status(key, X_Forwarded_For="8.8.8.8") == 200
    log = [row["operation"] for row in world.api.post("/activities/public", {"resourceIds": [key["id"]], "resultTypes": ["SUCCESS"]}).json["items"]]
    assert log.count("WITHDRAW_EXPOSURE") == 1 and log.count("EXPOSE") == 2


# ---------------------------------------------------------------------------- hostile words in mails
def test_hostile_words_leave_mails_intact(world):
    for text in HOSTILE:
        key = world.api.custom(displayName=text, description=text, lifetimeDuration=None)
        world.api.post(f"/apikeys/{key['id']}/exposure", {"severity": "MEDIUM", "reason": text, "url": "javascript:alert('<b>')", "source": "API"})
        world.api.advance(1)
        assert list(world.told(key)) == [("exposure_flagged", 0)]
        for mail in world.last:
            assert mail["Bcc"] is None and mail["X-Envelope-To"] in ADMINS + [SECURITY]
            assert mail.get_all("Subject") and len(mail.get_all("To")) == 1 and "\n" not in str(mail["Subject"])
            assert mail.get_content_type() == "multipart/alternative" and len(list(mail.iter_parts())) == 2
            plain, html = texts(mail)
            assert "<script" not in html and "<img" not in html and 'href="javascript' not in html.lower()
            assert "\nBcc:" not in plain.replace("\r", "")
        world.gone(key)
