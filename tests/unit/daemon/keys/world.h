// A KeyService over a real SQLite store in a throw-away directory, with a clock that the test
// moves.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/http/router.h"
#include "daemon/keys/key_service.h"
#include "daemon/keys/lifecycle_pass.h"
#include "store/admins.h"
#include "store/notices.h"

namespace sallyport::daemon {

/// What verification would have heard.
class RecordingObserver final : public KeyObserver {
 public:
  void key_changed(const store::ApiKey& key,
                   const std::vector<store::KeyValue>& all) noexcept override {
    keys[key.id] = key;
    values[key.id] = all;
  }
  void key_deleted(std::string_view id) noexcept override {
    keys.erase(std::string(id));
    values.erase(std::string(id));
  }
  std::map<std::string, store::ApiKey> keys;
  std::map<std::string, std::vector<store::KeyValue>> values;
};

class World {
 public:
  explicit World(std::string_view now = "2027-03-01T12:00:00Z")
      : clock(base::parse_instant(now).value()), live(default_config()) {
    std::string pattern = (std::filesystem::temp_directory_path() / "keys-XXXXXX").string();
    directory = ::mkdtemp(pattern.data());
    store::Options options;
    options.sqlite_path = (directory / "test.db").string();
    store = store::open_store(std::move(options));
    administrator("anna", "anna@example.com");
    administrator("bert", "bert@example.com");
    keys = std::make_unique<KeyService>(
        KeyServiceParts{*store, live, clock, templates, activity, health, waker, observer, guard});
  }
  ~World() {
    keys.reset();
    store.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  static Config default_config() {
    Config config;
    config.node = "here";
    config.notify.security_contact = "security@example.com";
    return config;
  }

  void administrator(const std::string& name, const std::string& email, bool active = true,
                     std::vector<std::string> groups = {}) {
    store::Administrator administrator;
    administrator.id = name;
    administrator.name = name;
    administrator.email = email;
    administrator.active = active;
    administrator.groups = std::move(groups);
    store->write([&](store::Unit& unit) { store::insert_administrator(unit, administrator); });
  }
  void group(const std::string& id) {
    store->write([&](store::Unit& unit) { store::put_group(unit, {id, id + " people", {}}); });
  }

  /// Root on admin.sock.
  static Caller root() {
    Caller caller;
    caller.kind = CallerKind::local;
    caller.source = "admin.sock";
    return caller;
  }
  static Caller person(std::vector<std::string> groups,
                       std::vector<store::Privilege> privileges = {}) {
    Caller caller;
    caller.kind = CallerKind::administrator;
    caller.administrator_id = "carl";
    caller.email = "carl@example.com";
    caller.groups = std::move(groups);
    caller.privileges = std::move(privileges);
    caller.source = "192.0.2.7";
    return caller;
  }

  static KeyInput named(std::string name) {
    KeyInput input;
    input.display_name = std::move(name);
    return input;
  }
  static KeyInput integration(const std::string& login) {
    KeyInput input = named("integration " + login);
    input.contact = store::Contact{"Ina", "Gration", login, login + "@example.net"};
    input.contact_login_given = true;
    return input;
  }
  NewKey custom(std::string name = "a key") { return keys->create(root(), "CUSTOM", named(name)); }
  NewKey custom_forever(std::string name = "a key") {
    KeyInput input = named(std::move(name));
    input.lifetime.given = true;
    return keys->create(root(), "CUSTOM", input);
  }

  /// Runs what is due at `now`, as the scheduler would.
  void pass_until(base::Instant until) {
    LifecyclePass pass(*keys, {});
    while (true) {
      const auto due = pass.earliest();
      if (!due || *due > until) break;
      if (*due > clock.now()) clock.set(*due);
      while (pass.run_pass(clock.now())) {
      }
    }
    clock.set(until);
  }

  /// "kind offset-in-days recipient state", in the order of writing.
  std::vector<std::string> ledger(const std::string& key_id) {
    const auto rows = store->read(
        [&](store::Unit& unit) { return store::subject_notices(unit, "api_key", key_id, "", {}); });
    std::vector<std::string> out;
    for (const auto& row : rows) out.push_back(line(row));
    std::sort(out.begin(), out.end());
    return out;
  }
  static std::string line(const store::Notice& row) {
    static const char* const states[] = {"pending",        "claimed",    "sent",     "failed",
                                         "not_applicable", "superseded", "cancelled"};
    return row.kind + " " + std::to_string(row.offset / 86400) + "d " + row.recipient + " " +
           states[static_cast<int>(row.state)];
  }
  /// As if a mail server had taken everything that is pending.
  void send_all() {
    store->write([&](store::Unit& unit) {
      while (true) {
        const auto due = store::due_notices(unit, clock.now(), 100);
        if (due.empty()) break;
        for (auto row : due) {
          row.state = store::NoticeState::sent;
          row.finished = clock.now();
          ASSERT_TRUE(store::update_notice(unit, row));
        }
      }
    });
  }
  std::vector<store::Activity> activity_of(const std::string& id) {
    return store->read([&](store::Unit& unit) {
      store::ActivityFilter filter;
      filter.resource_ids = {id};
      return store::list_activity(unit, filter, 0, 1000);
    });
  }
  std::vector<std::string> operations(const std::string& id) {
    std::vector<std::string> out;
    for (const auto& row : activity_of(id)) {
      out.insert(out.begin(), row.operation + (row.result == "SUCCESS" ? "" : "!"));
    }
    return out;
  }
  store::ApiKey stored(const std::string& id) { return keys->get(root(), id); }

  base::ManualClock clock;
  LiveConfig live;
  std::filesystem::path directory;
  std::unique_ptr<store::Store> store;
  KeyTemplates templates = load_templates("");
  ActivityLog activity{"here", clock};
  Health health{clock};
  NoWaker waker;
  RecordingObserver observer;
  TrustedClock guard;
  std::unique_ptr<KeyService> keys;
};

/// The code of the refusal; "" if there was none.
template <class Call>
std::string refusal(Call&& call, int* status = nullptr) {
  try {
    call();
  } catch (const ProblemError& error) {
    if (status != nullptr) *status = error.status();
    return error.error_code();
  }
  return "";
}

}  // namespace sallyport::daemon
