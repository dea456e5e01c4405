// What tests of the outbox stand on: a store whose connection can be lost, nodes that work on it,
// and a clock that only the test moves.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/outbox/outbox.h"
#include "notify/facts.h"
#include "store/error.h"
#include "tests/unit/notify/samples.h"
#include "tests/unit/notify/servers.h"

namespace sallyport::daemon {

using base::Instant;
using base::Seconds;
using store::Notice;
using store::NoticeState;

/// A store whose connection is lost when a test says so: before a unit's work, or after its commit,
/// which the caller cannot tell apart.
class FlakyStore final : public store::Store {
 public:
  explicit FlakyStore(std::unique_ptr<store::Store> real) : real_(std::move(real)) {}
  [[nodiscard]] store::Dialect dialect() const override { return real_->dialect(); }
  void ping() override { real_->ping(); }

  /// The first so many writes succeed; later ones fail, until this is set again.
  std::atomic<int> good_writes{1000000};
  std::atomic<bool> commits_before_failing{false};

 protected:
  void run(bool writes, const std::function<void(store::Unit&)>& work) override {
    if (!writes) return real_->read(work);
    const bool fails = good_writes.fetch_sub(1) <= 0;
    if (!fails || commits_before_failing) real_->write(work);
    if (fails)
      throw store::Error(store::Failure::unavailable, 2013, "the connection to the store was lost");
  }

 private:
  std::unique_ptr<store::Store> real_;
};

class OutboxTest : public ::testing::Test {
 protected:
  OutboxTest() {
    store::Options options;
    options.sqlite_path = (directory_.path() / "store.db").string();
    store_ = std::make_unique<FlakyStore>(store::open_store(std::move(options)));
  }

  /// A node that works on the store as `name` with the mail server at `port`.
  struct Node {
    Node(OutboxTest& test, const std::string& name, Config config)
        : live(std::move(config)),
          activity(name, test.clock_),
          health(test.clock_),
          outbox(*test.store_, live, test.clock_, health, activity),
          clock(test.clock_) {}
    /// Passes until nothing is due, as the scheduler does.
    void run() {
      while (true) {
        const auto due = outbox.earliest();
        if (!due || *due > clock.now()) return;
        while (outbox.run_pass(clock.now())) {
        }
      }
    }
    LiveConfig live;
    ActivityLog activity;
    Health health;
    Outbox outbox;
    base::Clock& clock;
  };

  static Config config_for(std::uint16_t port) {
    Config config;
    config.smtp.host = "localhost";
    config.smtp.port = port;
    config.smtp.security = "none";
    config.smtp.timeout = Seconds{5};
    config.notify.from = "sallyport@gate1.example.com";
    return config;
  }

  Notice add(const std::string& recipient, const std::string& subject = "k1",
             notify::Kind kind = notify::Kind::key_expired, Seconds offset = Seconds{0},
             store::Channel channel = store::Channel::mail) {
    Notice notice;
    notice.subject_type = "api_key";
    notice.subject_id = subject;
    notice.kind = notify::to_string(kind);
    notice.cycle = 1;
    notice.offset = offset.count();
    notice.recipient = recipient;
    notice.channel = channel;
    notice.role = "administrator";
    notify::Facts facts = test::sample_facts(kind);
    facts.key->id = subject;
    notice.facts = notify::to_json(facts);
    notice.created = notice.due = notice.next_attempt = clock_.now();
    notice.id = store::notice_id(notice);
    EXPECT_TRUE(
        store_->write([&](store::Unit& unit) { return store::insert_notice(unit, notice); }));
    return notice;
  }

  Notice now_in_store(const Notice& notice) {
    return *store_->read([&](store::Unit& unit) { return store::find_notice(unit, notice.id); });
  }
  std::int64_t count(NoticeState state) {
    return store_->read([&](store::Unit& unit) { return store::count_notices(unit, state); });
  }
  std::vector<std::string> conditions(Node& node) {
    std::vector<std::string> names;
    for (const HealthCondition& condition : node.health.list()) names.push_back(condition.name);
    return names;
  }

  test::ScratchDirectory directory_;
  base::ManualClock clock_{test::sample_now};
  std::unique_ptr<FlakyStore> store_;
};

class OutboxWebhookTest : public OutboxTest {
 protected:
  OutboxWebhookTest() {
    const auto path = directory_.path() / "secret";
    std::ofstream(path) << "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n";
    secret_file_ = path.string();
    std::filesystem::create_directory(directory_.path() / "hooks");
  }
  [[nodiscard]] TableEntry webhook(const std::string& name, std::uint16_t port) const {
    TableEntry entry;
    entry.values["name"] = name;
    entry.values["url"] = "http://localhost:" + std::to_string(port) + "/hook";
    entry.values["secret_file"] = secret_file_;
    return entry;
  }
  std::string secret_file_;
};

}  // namespace sallyport::daemon
