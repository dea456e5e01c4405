// Operations on keys over a real store.
#include <gtest/gtest.h>

#include "daemon/keys/key_checks.h"
#include "tests/unit/daemon/keys/world.h"

namespace sallyport::daemon {
namespace {

using lifecycle::Event;
using store::KeyState;
using Lines = std::vector<std::string>;

TEST(KeyService, CreatesAKeyWhoseValueIsSeenOnce) {
  World world;
  const NewKey made = world.custom("Push key");
  EXPECT_EQ(made.key.id.size(), 26U);
  ASSERT_EQ(made.value.reveal().size(), 40U);
  EXPECT_EQ(made.value.reveal().find_first_not_of("0123456789abcdef"), std::string_view::npos);
  EXPECT_EQ(masked_value(made.key), "xx*****" + std::string(made.value.reveal().substr(36)));
  EXPECT_EQ(*made.key.expires_at, base::parse_instant("2027-03-16").value());
  ASSERT_TRUE(world.observer.keys.count(made.key.id));
  ASSERT_EQ(world.observer.values[made.key.id].size(), 1U);
  EXPECT_EQ(world.observer.values[made.key.id][0].sha256, base::sha256(made.value.reveal()));
  EXPECT_EQ(world.operations(made.key.id), Lines{"CREATE"});
  EXPECT_EQ(world.stored(made.key.id).display_name, "Push key");
  for (const auto& row : world.activity_of(made.key.id)) {
    EXPECT_EQ(row.changes.find(made.value.reveal()), std::string::npos);
  }
}

TEST(KeyService, RefusesWhatATemplateDoesNotOffer) {
  World world;
  const auto create = [&](const std::string& tmpl, KeyInput input) {
    return refusal([&] { (void)world.keys->create(World::root(), tmpl, input); });
  };
  EXPECT_EQ(create("NONE", World::named("x")), "UNKNOWN_TEMPLATE");
  EXPECT_EQ(create("", World::named("x")), "UNKNOWN_TEMPLATE");
  KeyInput lifetime = World::named("x");
  lifetime.lifetime = {true, "P1M"};
  EXPECT_EQ(create("USAGE_ANALYTICS", lifetime), "LIFETIME_NOT_OFFERED");
  lifetime.lifetime = {true, ""};
  EXPECT_EQ(create("USAGE_ANALYTICS", lifetime), "");
  for (const auto* bad : {"P0D", "P1H", "PT5M", "14", "P-1D", "P1Y2", "P101Y"}) {
    lifetime.lifetime = {true, bad};
    EXPECT_EQ(create("CUSTOM", lifetime), "INVALID_LIFETIME") << bad;
  }
  KeyInput contact = World::integration("x");
  EXPECT_EQ(create("CUSTOM", contact), "CONTACT_NOT_OFFERED");
  EXPECT_EQ(create("INTEGRATION", World::named("x")), "FIELD_REQUIRED");
  KeyInput hub = World::named("x");
  hub.additional_configuration =
      parse_json(R"({"search":{"enforcedQueryPipelineConfiguration":{"searchHub":"Main"}}})");
  EXPECT_EQ(create("CUSTOM", hub), "SEARCH_HUB_NOT_OFFERED");
  EXPECT_EQ(create("ANONYMOUS_SEARCH", hub), "");
  hub.additional_configuration->set("commerce", Json::object({{"catalogId", "c1"}}));
  EXPECT_EQ(create("ANONYMOUS_SEARCH", hub), "SEARCH_HUB_WITH_CATALOG");
  KeyInput pairs = World::integration("pairs");
  pairs.permissions = std::vector<store::Permission>{{"invoices", "create"}};
  EXPECT_EQ(create("INTEGRATION", pairs), "PERMISSIONS_NOT_ENABLED");
  pairs.permissions_enabled = true;
  EXPECT_EQ(create("INTEGRATION", pairs), "");
  pairs.contact.reset();
  EXPECT_EQ(create("CUSTOM", pairs), "PERMISSIONS_NOT_OFFERED");
}

TEST(KeyService, EveryTextAtItsLimitAndOneOver) {
  World world;
  const auto create = [&](KeyInput input) {
    return refusal([&] { (void)world.keys->create(World::root(), "CUSTOM", input); });
  };
  std::string emoji;
  for (int i = 0; i < 125; ++i) emoji += "\xF0\x9F\x94\x91";
  EXPECT_EQ(create(World::named(emoji)), "");
  EXPECT_EQ(create(World::named(emoji + "x")), "FIELD_TOO_LONG");
  EXPECT_EQ(create(World::named("")), "FIELD_REQUIRED");
  EXPECT_EQ(create(World::named("  \t")), "FIELD_REQUIRED");
  EXPECT_EQ(create(KeyInput{}), "FIELD_REQUIRED");
  KeyInput described = World::named("x");
  described.description = std::string(1000, 'd');
  EXPECT_EQ(create(described), "");
  described.description = std::string(1001, 'd');
  EXPECT_EQ(create(described), "FIELD_TOO_LONG");
  try {
    (void)world.keys->create(World::root(), "CUSTOM", World::named(std::string(126, 'n')));
    FAIL();
  } catch (const ProblemError& error) {
    EXPECT_NE(std::string(error.what()).find("125"), std::string::npos) << "names the limit";
  }
  const std::string hostile = "'; DROP TABLE api_key; -- <script>\r\nBcc: x@example.com";
  const auto made = world.custom(hostile);
  EXPECT_EQ(world.stored(made.key.id).display_name, hostile);
}

TEST(KeyService, RefusesTheValueOfAnyKeyInATextInAnyCase) {
  World world;
  const std::string value(world.custom().value.reveal());
  std::string upper = value;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  for (const auto& text : {"see " + value, "0" + upper + "ff", value + value}) {
    EXPECT_EQ(refusal([&] { (void)world.custom(text); }), "KEY_VALUE_IN_TEXT");
    KeyInput input = World::named("x");
    input.description = text;
    EXPECT_EQ(refusal([&] { (void)world.keys->create(World::root(), "CUSTOM", input); }),
              "KEY_VALUE_IN_TEXT");
  }
  const auto other = world.custom(std::string(40, 'a'));  // hex digits, but no key's value
  KeyInput edit;
  edit.description = "the value is " + value;
  EXPECT_EQ(refusal([&] { world.keys->update(World::root(), other.key.id, edit); }),
            "KEY_VALUE_IN_TEXT");
  KeyInput duplicate;
  duplicate.display_name = value;
  EXPECT_EQ(refusal([&] { (void)world.keys->duplicate(World::root(), other.key.id, duplicate); }),
            "KEY_VALUE_IN_TEXT");
  // Retired values are remembered.
  (void)world.keys->regenerate(World::root(), other.key.id, base::Seconds{0});
  const std::string old(other.value.reveal());
  EXPECT_EQ(refusal([&] { (void)world.custom(old); }), "KEY_VALUE_IN_TEXT");
}

TEST(KeyService, CustomMayHoldNeitherForbiddenPrivilegesNorManageKeys) {
  World world;
  const auto create = [&](store::Privilege privilege) {
    KeyInput input = World::named("x");
    input.privileges = {std::move(privilege)};
    return refusal([&] { (void)world.keys->create(World::root(), "CUSTOM", input); });
  };
  EXPECT_EQ(create({"SEARCH_API", "EXECUTE_QUERY", "", ""}), "PRIVILEGE_NOT_ALLOWED");
  EXPECT_EQ(create({"SEARCH_API", "EXECUTE_QUERY", "EDIT", "x"}), "PRIVILEGE_NOT_ALLOWED");
  EXPECT_EQ(create({"search_api", "Impersonate", "", ""}), "PRIVILEGE_NOT_ALLOWED");
  EXPECT_EQ(create({"USAGE_ANALYTICS", "ANALYTICS_DATA", "EDIT", ""}), "PRIVILEGE_NOT_ALLOWED");
  EXPECT_EQ(create({"USAGE_ANALYTICS", "ANALYTICS_DATA", "VIEW", ""}), "");
  EXPECT_EQ(create({"PLATFORM", "API_KEY", "VIEW", ""}), "PRIVILEGE_NOT_ALLOWED");
  EXPECT_EQ(create({"ANY", "api_key", "", "*"}), "PRIVILEGE_NOT_ALLOWED");
  EXPECT_EQ(create({"FOO", "BAR BAZ", "EDIT", ""}), "INVALID_PRIVILEGE");
}

TEST(KeyService, NobodyGrantsWhatTheyDoNotHold) {
  World world;
  KeyInput input = World::named("x");
  input.privileges = {{{"FOO", "BAR", "EDIT", ""}, {"FOO", "BAZ", "VIEW", ""}}};
  const Caller carl = World::person({}, {{"FOO", "BAZ", "EDIT", ""}});
  try {
    (void)world.keys->create(carl, "CUSTOM", input);
    FAIL();
  } catch (const ProblemError& error) {
    EXPECT_EQ(error.status(), 403);
    const auto* lacking = error.members()["missingPrivileges"].if_array();
    ASSERT_TRUE(lacking != nullptr);
    ASSERT_EQ(lacking->size(), 1U);
    EXPECT_EQ(*(*lacking)[0]["targetDomain"].if_string(), "BAR");
  }
  const auto made = world.keys->create(World::root(), "CUSTOM", input);
  const auto& id = made.key.id;
  EXPECT_EQ(refusal([&] { (void)world.keys->duplicate(carl, id, {}); }), "MISSING_PRIVILEGES");
  EXPECT_EQ(refusal([&] { (void)world.keys->regenerate(carl, id, base::Seconds{0}); }),
            "MISSING_PRIVILEGES");
  EXPECT_EQ(refusal([&] { (void)world.keys->create(carl, "ANONYMOUS_SEARCH", World::named("y")); }),
            "MISSING_PRIVILEGES");
}

TEST(KeyService, IpListsAreCanonicalAndPublic) {
  World world;
  const auto create = [&](Lines ips) {
    KeyInput input = World::named("x");
    input.allowed_ips = std::move(ips);
    return world.keys->create(World::root(), "CUSTOM", input).key.allowed_ips;
  };
  EXPECT_EQ(create({"104.1.1.0/24", "::ffff:104.1.2.3", "104.1.1.0/24"}),
            (Lines{"104.1.1.0/24", "104.1.2.3"}));
  EXPECT_EQ(create({"2001:DB8:0:0::1", "2a00:1450::/32"}),
            (Lines{"2001:db8::1", "2a00:1450::/32"}));
  try {
    (void)create({"104.1.1.7/24"});
    FAIL();
  } catch (const ProblemError& error) {
    EXPECT_NE(std::string(error.what()).find("104.1.1.0/24"), std::string::npos);
  }
  for (const auto* text :
       {"10.0.0.0/8", "127.0.0.1", "192.168.1.1", "169.254.0.1", "224.0.0.1", "0.0.0.0", "fe80::1",
        "fd00::/8", "::", "::1", "ff02::1", "::ffff:10.0.0.1"}) {
    EXPECT_EQ(refusal([&] { (void)create({text}); }), "IP_RANGE_NOT_PUBLIC") << text;
  }
  for (const auto* text :
       {"", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "example.com", "1.2.3.4 ", "01.2.3.4", "::1%eth0"}) {
    EXPECT_EQ(refusal([&] { (void)create({text}); }), "INVALID_IP_RANGE") << text;
  }
  Config config = World::default_config();
  config.keys.allow_private_ips = true;
  world.live.set(std::make_shared<const Config>(config));
  EXPECT_EQ(create({"10.0.0.0/8"}), (Lines{"10.0.0.0/8"}));
}

TEST(KeyService, ContactsOfIntegrationKeysAreUnique) {
  World world;
  const auto make = [&](const KeyInput& input) {
    return refusal([&] { (void)world.keys->create(World::root(), "INTEGRATION", input); });
  };
  const auto first = world.keys->create(World::root(), "INTEGRATION", World::integration("erp"));
  EXPECT_EQ(make(World::integration("erp")), "CONTACT_NOT_UNIQUE");
  KeyInput same_mail = World::integration("other");
  same_mail.contact->email = "erp@example.net";
  EXPECT_EQ(make(same_mail), "CONTACT_NOT_UNIQUE");
  same_mail.contact->email = "not an address";
  EXPECT_EQ(make(same_mail), "INVALID_FIELD");
  // A duplicate may share, and so may its source go on.
  const auto copy = world.keys->duplicate(World::root(), first.key.id, {});
  KeyInput edit;
  edit.contact = store::Contact{"Ina", "Neu", "", "erp@example.net"};
  EXPECT_EQ(world.keys->update(World::root(), first.key.id, edit).contact->last_name, "Neu");
  EXPECT_EQ(world.stored(first.key.id).contact->login, "erp") << "the login is write-only";
  world.keys->revoke(World::root(), first.key.id);
  world.keys->revoke(World::root(), copy.key.id);
  EXPECT_EQ(make(World::integration("erp")), "");
}

TEST(KeyService, EditsWhatCanBeEditedAndRefusesTheRest) {
  World world;
  KeyInput input = World::named("x");
  input.privileges = {{{"FOO", "BAR", "EDIT", ""}, {"FOO", "BAZ", "", ""}}};
  const auto made = world.keys->create(World::root(), "CUSTOM", input);
  const auto& id = made.key.id;
  KeyInput edit;
  edit.id = id;
  edit.value = masked_value(made.key);
  edit.template_id = "CUSTOM";
  edit.privileges = {{{"FOO", "BAZ", "", ""}, {"FOO", "BAR", "EDIT", ""}}};
  edit.expiration_millis = base::to_unix(*made.key.expires_at) * 1000;
  edit.enabled = true;
  edit.display_name = "y";
  edit.allowed_ips = Lines{"104.1.1.0/24"};
  world.keys->update(World::root(), id, edit);
  EXPECT_EQ(world.stored(id).display_name, "y");
  EXPECT_EQ(world.observer.keys[id].allowed_ips, (Lines{"104.1.1.0/24"}));
  EXPECT_EQ(world.operations(id), (Lines{"CREATE", "UPDATE"}));

  const auto refuse = [&](auto&& spoil) {
    KeyInput bad;
    spoil(bad);
    int status = 0;
    EXPECT_EQ(refusal([&] { world.keys->update(World::root(), id, bad); }, &status),
              "FIELD_CANNOT_BE_EDITED");
    EXPECT_EQ(status, 409);
  };
  refuse([](KeyInput& bad) { bad.privileges = {{{"FOO", "BAR", "EDIT", ""}}}; });
  refuse([](KeyInput& bad) { bad.value = "xx*****zzzz"; });
  refuse([](KeyInput& bad) { bad.template_id = "INTEGRATION"; });
  refuse([](KeyInput& bad) { bad.permissions_enabled = true; });
  refuse([](KeyInput& bad) { bad.lifetime = {true, "P1Y"}; });
  refuse([](KeyInput& bad) { bad.expiration_null = true; });
  refuse([](KeyInput& bad) { bad.expiration_day = "2027-03-16"; });
  refuse([](KeyInput& bad) { bad.enabled = false; });
  KeyInput same_day;
  same_day.expiration_day = "2027-03-15";
  EXPECT_EQ(refusal([&] { world.keys->update(World::root(), id, same_day); }), "");
}

TEST(KeyService, GroupsDecideWhoSeesAndWhoEdits) {
  World world;
  world.group("editors");
  world.group("viewers");
  KeyInput input = World::named("x");
  input.groups_can_edit = Lines{"editors"};
  input.groups_can_view = Lines{"viewers"};
  const auto id = world.keys->create(World::root(), "CUSTOM", input).key.id;
  const Caller editor = World::person({"editors"});
  const Caller viewer = World::person({"viewers"});
  const Caller other = World::person({"others"});
  EXPECT_EQ(refusal([&] { (void)world.keys->get(editor, id); }), "");
  EXPECT_EQ(refusal([&] { (void)world.keys->get(viewer, id); }), "");
  EXPECT_EQ(refusal([&] { (void)world.keys->get(other, id); }), "API_KEY_NOT_FOUND");
  EXPECT_EQ(refusal([&] { (void)world.keys->get(other, "nosuchkey"); }), "API_KEY_NOT_FOUND");
  EXPECT_EQ(world.keys->list(viewer, KeyFilter::all).size(), 1U);
  EXPECT_EQ(world.keys->list(other, KeyFilter::all).size(), 0U);
  int status = 0;
  EXPECT_EQ(refusal([&] { world.keys->disable(viewer, id); }, &status), "ACCESS_DENIED");
  EXPECT_EQ(status, 403);
  EXPECT_EQ(refusal([&] { world.keys->remove(other, id); }), "API_KEY_NOT_FOUND");
  EXPECT_EQ(refusal([&] { world.keys->disable(editor, id); }), "");
  input.groups_can_edit = Lines{"nosuch"};
  EXPECT_EQ(refusal([&] { (void)world.keys->create(World::root(), "CUSTOM", input); }),
            "UNKNOWN_GROUP");
}

TEST(KeyService, RegeneratedKeysHaveAtMostTwoValidValues) {
  World world;
  const auto made = world.custom_forever();
  const auto& id = made.key.id;
  const base::Instant now = world.clock.now();
  const auto valid = [&] {
    std::size_t count = 0;
    for (const auto& value : world.observer.values[id]) {
      if (!value.valid_until || world.clock.now() < *value.valid_until) ++count;
    }
    return count;
  };
  const auto second = world.keys->regenerate(World::root(), id, base::Seconds{86400});
  EXPECT_NE(second.value.reveal(), made.value.reveal());
  EXPECT_EQ(second.key.value_last4, second.value.reveal().substr(36));
  EXPECT_EQ(valid(), 2U);
  const auto third = world.keys->regenerate(World::root(), id, base::Seconds{86400});
  EXPECT_EQ(valid(), 2U) << "the oldest ended";
  world.clock.set(now + base::Seconds{86400});
  EXPECT_EQ(valid(), 1U);
  EXPECT_EQ(
      refusal([&] { (void)world.keys->regenerate(World::root(), id, base::Seconds{31 * 86400}); }),
      "INVALID_OVERLAP");
  world.keys->revoke(World::root(), id);
  EXPECT_EQ(valid(), 0U);
  EXPECT_EQ(world.observer.values[id].size(), 3U) << "hashes of retired values are kept";
}

TEST(KeyService, BulkIsAllOrNothing) {
  World world;
  const auto a = world.keys->create(World::root(), "INTEGRATION", World::integration("a")).key.id;
  const auto b = world.custom().key.id;
  world.keys->bulk(World::root(), Event::disable, {a, b, a});
  EXPECT_EQ(world.stored(a).state, KeyState::disabled);
  EXPECT_EQ(world.stored(b).state, KeyState::disabled);
  EXPECT_EQ(refusal([&] {
              world.keys->bulk(World::root(), Event::activate, {a, b});
            }),
            "API_KEY_CANNOT_BE_REACTIVATED");
  EXPECT_EQ(world.stored(a).state, KeyState::disabled) << "nothing was changed";
  EXPECT_EQ(refusal([&] {
              world.keys->bulk(World::root(), Event::remove, {a, "nosuch"});
            }),
            "API_KEY_NOT_FOUND");
  EXPECT_EQ(world.keys->list(World::root(), KeyFilter::all).size(), 2U);
  world.keys->bulk(World::root(), Event::remove, {a, b});
  EXPECT_TRUE(world.keys->list(World::root(), KeyFilter::all).empty());
  EXPECT_TRUE(world.observer.keys.empty());
  EXPECT_EQ(world.operations(a).back(), "DELETE") << "activity stays";
}

TEST(KeyService, RefusalsAreInTheActivityLog) {
  World world;
  const auto id = world.custom().key.id;
  world.keys->revoke(World::root(), id);
  EXPECT_EQ(refusal([&] { world.keys->activate(World::root(), id); }), "API_KEY_REVOKED");
  EXPECT_EQ(world.operations(id), (Lines{"CREATE", "REVOKE", "ENABLE!"}));
}

TEST(KeyService, FiltersFollowTheTimers) {
  World world;
  const auto soon = world.custom("soon").key.id;
  const auto forever = world.custom_forever("forever").key.id;
  const auto off = world.custom_forever("off").key.id;
  world.keys->disable(World::root(), off);
  const auto names = [&](std::string_view filter) {
    Lines out;
    for (const auto& key : world.keys->list(World::root(), parse_key_filter(filter).value())) {
      out.push_back(key.display_name);
    }
    std::sort(out.begin(), out.end());
    return out;
  };
  EXPECT_EQ(names(""), (Lines{"forever", "off", "soon"}));
  EXPECT_EQ(names("ACTIVE"), (Lines{"forever", "soon"}));
  EXPECT_EQ(names("DEACTIVATED"), (Lines{"off"}));
  EXPECT_EQ(names("SOON_TO_BE_EXPIRED"), (Lines{}));
  world.pass_until(base::parse_instant("2027-03-12").value());
  EXPECT_EQ(names("SOON_TO_BE_EXPIRED"), (Lines{"soon"}));
  KeyReference reference;
  reference.id = forever;
  (void)world.keys->report_exposure(World::root(), reference, {});
  EXPECT_EQ(names("ACTIVE_AND_EXPOSED"), (Lines{"forever"}));
  EXPECT_EQ(names("WITH_WARNING"), (Lines{"forever", "soon"}));
  world.pass_until(base::parse_instant("2027-03-20").value());
  EXPECT_EQ(names("ALL_EXPOSED"), (Lines{"forever"}));
  EXPECT_EQ(names("DEACTIVATED"), (Lines{"forever", "off", "soon"}));
  EXPECT_FALSE(parse_key_filter("NONSENSE"));
}

}  // namespace
}  // namespace sallyport::daemon
