#include "store/keys.h"

#include <atomic>
#include <thread>

#include "fixture.h"
#include "samples.h"

namespace sallyport::store {
namespace {

class Keys : public OpenStoreTest {
 protected:
  void insert(const ApiKey& key) {
    write([&](Unit& unit) { insert_key(unit, key, value_of(key.id)); });
  }
  std::optional<ApiKey> find(const std::string& id) {
    return read([&](Unit& unit) { return find_key(unit, id); });
  }
};
CONTRACT(Keys);

TEST_P(Keys, EveryFieldComesBack) {
  const ApiKey key = full_key();
  insert(key);
  EXPECT_EQ(find("key1"), key);
  EXPECT_EQ(find("key2"), std::nullopt);
}

TEST_P(Keys, EmptyFieldsComeBackEmpty) {
  const ApiKey key = small_key("k");
  insert(key);
  EXPECT_EQ(find("k"), key);
}

TEST_P(Keys, TimesBeforeTheEpochAndFarAhead) {
  ApiKey key = small_key("k");
  key.created = at(-86'400);
  key.expires_at = at(253'402'300'799);
  insert(key);
  EXPECT_EQ(find("k"), key);
}

TEST_P(Keys, HostileTextComesBackByteForByte) {
  int number = 0;
  for (const std::string& text : hostile_texts()) {
    ApiKey key = full_key("h" + std::to_string(++number));
    // What has a length of its own (spec/api-keys.md 1) is as long as it may be.
    key.description = text;
    key.search_hub = text;
    key.catalog_id = text;
    key.privileges = {{text, text, "EDIT", text}};
    key.permissions = {{text, text}};
    key.groups_can_edit = {text, text};
    key.contact->first_name = text;
    key.contact->last_name = text;
    key.exposure->reasons[0].reason = text;
    key.exposure->withdrawn_reason = text;
    insert(key);
    EXPECT_EQ(find(key.id), key) << text;
  }
}

TEST_P(Keys, TextThatIsNotUtf8IsMended) {
  ApiKey key = small_key("k");
  key.description = "a\xFF\xC3(\xED\xA0\x80z";
  key.allowed_ips = {"\xFE"};
  insert(key);
  const auto found = find("k");
  EXPECT_EQ(found->description, "a\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz");
  EXPECT_EQ(found->allowed_ips.at(0), "\xEF\xBF\xBD");
}

TEST_P(Keys, UpdateReplacesEverythingButIdAndUsage) {
  insert(small_key("k"));
  write([&](Unit& unit) { record_usage(unit, {{"k", at(100), at(90)}}); });
  ApiKey changed = full_key("k");
  changed.version = 0;
  EXPECT_TRUE(write([&](Unit& unit) { return update_key(unit, changed); }));
  changed.version = 1;
  changed.last_used = at(100);
  changed.last_allowed = at(90);
  EXPECT_EQ(find("k"), changed);
}

TEST_P(Keys, UpdateOfAnOldVersionChangesNothing) {
  insert(small_key("k"));
  ApiKey first = *find("k");
  ApiKey second = first;
  first.description = "first";
  second.description = "second";
  EXPECT_TRUE(write([&](Unit& unit) { return update_key(unit, first); }));
  EXPECT_FALSE(write([&](Unit& unit) { return update_key(unit, second); }));
  EXPECT_EQ(find("k")->description, "first");
  EXPECT_FALSE(write([&](Unit& unit) { return update_key(unit, small_key("none")); }));
}

TEST_P(Keys, CompareAndSwapLosesNoUpdateAmongThreads) {
  insert(small_key("k"));
  constexpr int threads = 4;
  constexpr int each = 25;
  std::vector<std::jthread> workers;
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&] {
      for (int done = 0; done < each;) {
        ApiKey key = *find("k");
        key.description = std::to_string(std::stoi("0" + key.description) + 1);
        if (write([&](Unit& unit) { return update_key(unit, key); })) ++done;
      }
    });
  }
  workers.clear();
  EXPECT_EQ(find("k")->description, std::to_string(threads * each));
  EXPECT_EQ(find("k")->version, threads * each);
}

TEST_P(Keys, SameIdOrValueIsADuplicate) {
  insert(small_key("k"));
  EXPECT_EQ(error_of([&] { insert(small_key("k")); }).kind(), Failure::duplicate);
  const auto same_value = [&] {
    write([&](Unit& unit) { insert_key(unit, small_key("other"), value_of("k")); });
  };
  EXPECT_EQ(error_of(same_value).kind(), Failure::duplicate);
  EXPECT_EQ(find("other"), std::nullopt) << "the unit was rolled back";
}

TEST_P(Keys, IdsThatDifferInCaseOrTrailingSpaceAreTwo) {
  insert(small_key("k"));
  insert(small_key("K"));
  insert(small_key("k "));
  EXPECT_EQ(find("k ")->display_name, "k ");
  EXPECT_EQ(find("K")->display_name, "K");
}

TEST_P(Keys, DeleteTakesValuesAndUsageWithIt) {
  insert(full_key("k"));
  write([&](Unit& unit) { record_usage(unit, {{"k", at(100), {}}}); });
  EXPECT_TRUE(write([&](Unit& unit) { return delete_key(unit, "k"); }));
  EXPECT_FALSE(write([&](Unit& unit) { return delete_key(unit, "k"); }));
  EXPECT_EQ(find("k"), std::nullopt);
  read([&](Unit& unit) {
    EXPECT_TRUE(key_values(unit, "k").empty());
    EXPECT_EQ(find_key_value(unit, value_of("k")), std::nullopt);
    EXPECT_TRUE(list_verify_rows(unit, nullptr, 10).empty());
  });
  // Made again, it has none of the old one's usage.
  insert(small_key("k"));
  EXPECT_EQ(find("k")->last_used, std::nullopt);
}

TEST_P(Keys, ListPagesInOrderOfId) {
  for (const char* id : {"d", "b", "a", "c", "e"}) insert(small_key(id));
  std::string ids;
  std::string after;
  for (;;) {
    const auto page = read([&](Unit& unit) { return list_keys(unit, after, 2); });
    if (page.empty()) break;
    EXPECT_LE(page.size(), 2U);
    for (const ApiKey& key : page) ids += key.id;
    after = page.back().id;
  }
  EXPECT_EQ(ids, "abcde");
}

TEST_P(Keys, DueOnesComeOldestFirst) {
  const auto with_due = [&](const char* id, std::optional<Instant> due) {
    ApiKey key = small_key(id);
    key.next_due = due;
    insert(key);
  };
  EXPECT_EQ(read([](Unit& unit) { return earliest_due(unit); }), std::nullopt);
  with_due("never", std::nullopt);
  EXPECT_EQ(read([](Unit& unit) { return earliest_due(unit); }), std::nullopt);
  with_due("late", at(300));
  with_due("b", at(100));
  with_due("a", at(100));
  with_due("first", at(-5));
  read([&](Unit& unit) {
    EXPECT_EQ(earliest_due(unit), at(-5));
    const auto ids = [&](Instant now, unsigned limit) {
      std::string text;
      for (const ApiKey& key : due_keys(unit, now, limit)) text += key.id + " ";
      return text;
    };
    EXPECT_EQ(ids(at(99), 10), "first ");
    EXPECT_EQ(ids(at(100), 10), "first a b ");
    EXPECT_EQ(ids(at(299), 2), "first a ");
    EXPECT_EQ(ids(at(300), 10), "first a b late ");
  });
}

TEST_P(Keys, ContactsOfLiveKeysDoNotClash) {
  ApiKey first = small_key("first");
  first.template_id = "INTEGRATION";
  first.contact = Contact{"A", "B", "login", "mail@example.com"};
  insert(first);

  ApiKey second = first;
  second.id = "second";
  second.contact = Contact{"A", "B", "login", "other@example.com"};
  EXPECT_EQ(error_of([&] { insert(second); }).kind(), Failure::duplicate);
  second.contact = Contact{"A", "B", "other", "mail@example.com"};
  EXPECT_EQ(error_of([&] { insert(second); }).kind(), Failure::duplicate);

  ApiKey copy = first;
  copy.id = "copy";
  copy.duplicated_from = "first";
  insert(copy);  // may share with its source

  read([&](Unit& unit) {
    EXPECT_EQ(find_contact_clash(unit, "INTEGRATION", *first.contact, ""), "copy");
    EXPECT_EQ(find_contact_clash(unit, "INTEGRATION", *first.contact, "copy"), "first");
    EXPECT_EQ(find_contact_clash(unit, "CUSTOM", *first.contact, ""), std::nullopt);
    EXPECT_EQ(find_contact_clash(unit, "INTEGRATION", Contact{"A", "B", "", ""}, ""), std::nullopt);
    EXPECT_EQ(find_contact_clash(unit, "INTEGRATION", Contact{"A", "B", "login ", ""}, ""),
              std::nullopt);
  });

  // What has ended frees its contact; what is only disabled does not.
  EXPECT_TRUE(write([&](Unit& unit) { return delete_key(unit, "copy"); }));
  second.contact = first.contact;
  for (const KeyState state : {KeyState::disabled, KeyState::disabled_for_inactivity}) {
    first = *find("first");
    first.state = state;
    EXPECT_TRUE(write([&](Unit& unit) { return update_key(unit, first); }));
    EXPECT_EQ(error_of([&] { insert(second); }).kind(), Failure::duplicate);
  }
  first = *find("first");
  first.state = KeyState::revoked;
  EXPECT_TRUE(write([&](Unit& unit) { return update_key(unit, first); }));
  insert(second);
}

TEST_P(Keys, OfTwoThatInsertTheSameContactOneIsRefused) {
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> accepted = 0;
    std::atomic<int> refused = 0;
    std::vector<std::jthread> workers;
    for (int t = 0; t < 3; ++t) {
      workers.emplace_back([&, t] {
        ApiKey key = small_key("r" + std::to_string(round) + "t" + std::to_string(t));
        key.template_id = "INTEGRATION";
        // The e-mail addresses differ: the login alone decides.
        key.contact = Contact{"A", "B", "login" + std::to_string(round), key.id + "@example.com"};
        try {
          insert(key);
          ++accepted;
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), Failure::duplicate) << error.what();
          ++refused;
        }
      });
    }
    workers.clear();
    EXPECT_EQ(accepted, 1);
    EXPECT_EQ(refused, 2);
  }
}

TEST_P(Keys, ValuesRetireAndAreStillFound) {
  insert(small_key("k"));
  base::Sha256 next{};
  next.fill(0);  // zero bytes are bytes
  write([&](Unit& unit) {
    insert_key_value(unit, {next, "k", std::nullopt});
    set_value_end(unit, value_of("k"), at(500));
  });
  read([&](Unit& unit) {
    EXPECT_EQ(find_key_value(unit, value_of("k")), (KeyValue{value_of("k"), "k", at(500)}));
    EXPECT_EQ(find_key_value(unit, next), (KeyValue{next, "k", std::nullopt}));
    EXPECT_EQ(key_values(unit, "k").size(), 2U);
    EXPECT_EQ(find_key_value(unit, value_of("unknown")), std::nullopt);
  });
}

TEST_P(Keys, ValuesPageInOrderOfHash) {
  std::vector<base::Sha256> expected;
  for (int i = 0; i < 20; ++i) {
    const std::string id = "k" + std::to_string(i);
    insert(small_key(id));
    expected.push_back(value_of(id));
  }
  std::sort(expected.begin(), expected.end());
  std::vector<base::Sha256> found;
  for (;;) {
    const auto page = read([&](Unit& unit) {
      return list_key_values(unit, found.empty() ? nullptr : &found.back(), 7);
    });
    if (page.empty()) break;
    for (const KeyValue& value : page) found.push_back(value.sha256);
  }
  EXPECT_EQ(found, expected);
}

TEST_P(Keys, VerifyRowsHoldWhatVerificationNeeds) {
  const ApiKey key = full_key("k");
  insert(key);
  const base::Sha256 second = base::sha256("second");
  write([&](Unit& unit) {
    insert_key_value(unit, {second, "k", at(77)});
    record_usage(unit, {{"k", at(50), at(40)}});
  });
  const auto rows = read([](Unit& unit) { return key_verify_rows(unit, "k"); });
  ASSERT_EQ(rows.size(), 2U);
  const VerifyRow& row = rows[rows[0].sha256 == second ? 0 : 1];
  EXPECT_EQ(row.key_id, "k");
  EXPECT_EQ(row.valid_until, at(77));
  EXPECT_EQ(row.display_name, key.display_name);
  EXPECT_EQ(row.template_id, "INTEGRATION");
  EXPECT_EQ(row.state, KeyState::disabled_for_inactivity);
  EXPECT_TRUE(row.is_public);
  EXPECT_EQ(row.expires_at, key.expires_at);
  EXPECT_EQ(row.exposure_deadline, key.exposure->deadline);
  EXPECT_EQ(parse_privileges(row.privileges), key.privileges);
  EXPECT_TRUE(row.permissions_enabled);
  EXPECT_EQ(parse_permissions(row.permissions), key.permissions);
  EXPECT_EQ(parse_strings(row.allowed_ips), key.allowed_ips);
  EXPECT_EQ(parse_strings(row.denied_ips), key.denied_ips);
  EXPECT_EQ(row.contact_first_name, "Ada");
  EXPECT_EQ(row.contact_last_name, "Lovelace");
  EXPECT_EQ(row.value_last4, "1f3a");
  EXPECT_EQ(row.last_used, at(50));
  EXPECT_EQ(row.last_allowed, at(40));
}

TEST_P(Keys, VerifyRowsOfAnEmptyKeyAreEmpty) {
  ApiKey key = small_key("k");
  key.exposure = Exposure{};
  key.exposure->deadline = at(5);
  key.exposure->withdrawn = true;
  insert(key);
  const VerifyRow row = read([](Unit& unit) { return list_verify_rows(unit, nullptr, 10); }).at(0);
  EXPECT_EQ(row.privileges, "");
  EXPECT_EQ(row.allowed_ips, "");
  EXPECT_EQ(row.contact_first_name, "");
  EXPECT_EQ(row.exposure_deadline, std::nullopt) << "withdrawn";
  EXPECT_EQ(row.last_used, std::nullopt);
  EXPECT_TRUE(parse_privileges("").empty());
}

TEST_P(Keys, VerifyRowsPageOverKeysWithSeveralValues) {
  std::size_t expected = 0;
  for (int i = 0; i < 10; ++i) {
    const std::string id = "k" + std::to_string(i);
    insert(small_key(id));
    write([&](Unit& unit) {
      for (int v = 0; v < i % 4; ++v) {
        insert_key_value(unit, {value_of(id + std::to_string(v)), id, at(1)});
      }
    });
    expected += 1 + static_cast<std::size_t>(i % 4);
  }
  for (const unsigned limit : {1U, 2U, 3U, 100U}) {
    std::vector<VerifyRow> found;
    for (;;) {
      const auto page = read([&](Unit& unit) {
        return list_verify_rows(unit, found.empty() ? nullptr : &found.back(), limit);
      });
      if (page.empty()) break;
      found.insert(found.end(), page.begin(), page.end());
    }
    EXPECT_EQ(found.size(), expected);
    for (std::size_t i = 1; i < found.size(); ++i) {
      EXPECT_LT(std::tie(found[i - 1].key_id, found[i - 1].sha256),
                std::tie(found[i].key_id, found[i].sha256));
    }
  }
}

}  // namespace
}  // namespace sallyport::store
