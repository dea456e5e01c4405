// Two daemons on one store, killed with SIGKILL at random instants again and again: every notice
// has exactly one record, reaches its recipient, and comes twice only with the same Message-ID
// (and, in digests, the same members). On SQLite and on a MariaDB server.
//
// The daemons are this very program, started again to run the one disabled test below. What is sent
// is what the mail server has kept; the clock moves on between the rounds, so that claims of the
// dead end.
#include <gmock/gmock.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "outbox_fixture.h"
#include "store/activity.h"

namespace sallyport::daemon {
namespace {

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

store::Options options_of(const std::string& text) {
  store::Options options;
  if (text.front() == '/') {
    options.sqlite_path = text;
    options.lock_wait_ms = 10000;
    return options;
  }
  // socket path, user, password and database, as the test below writes them
  options.dialect = store::Dialect::mysql;
  std::vector<std::string> parts;
  for (std::size_t begin = 6; begin <= text.size();) {
    const auto end = std::min(text.find('|', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  options.unix_socket = parts.at(0);
  options.user = parts.at(1);
  options.password = base::Secret(std::move(parts.at(2)));
  options.database = parts.at(3);
  return options;
}

Config config_of(std::uint16_t port, bool digest) {
  Config config;
  config.smtp.host = "127.0.0.1";
  config.smtp.port = port;
  config.smtp.security = "none";
  config.notify.from = "sallyport@gate1.example.com";
  config.notify.digest = digest;
  config.notify.digest_wait = Seconds{60};
  return config;
}

/// A daemon's outbox until nothing is due or it is killed.
TEST(OutboxNode, DISABLED_RunsUntilNothingIsDue) {
  ASSERT_NE(setting("TEST_NODE"), "") << "only for the test below";
  const auto store = store::open_store(options_of(setting("TEST_STORE")));
  base::ManualClock clock(base::from_unix(std::stoll(setting("TEST_NOW"))));
  const LiveConfig live(config_of(static_cast<std::uint16_t>(std::stoi(setting("TEST_PORT"))),
                                  setting("TEST_DIGEST") == "1"));
  const ActivityLog activity(setting("TEST_NODE"), clock);
  Health health(clock);
  Outbox outbox(*store, live, clock, health, activity);
  ASSERT_EQ(::write(3, "r", 1), 1);  // ready
  for (int conflicts = 0; conflicts < 1000;) {
    try {
      const auto due = outbox.earliest();
      if (!due || *due > clock.now()) return;
      (void)outbox.run_pass(clock.now());
    } catch (const store::Error& error) {
      ASSERT_TRUE(error.kind() == store::Failure::conflict ||
                  error.kind() == store::Failure::unavailable)
          << error.what();
      ++conflicts;  // the scheduler would come again
    }
  }
  FAIL() << "it never came to an end";
}

class Child {
 public:
  Child(const std::string& node, const std::string& store, std::uint16_t port, Instant now,
        bool digest) {
    std::vector<std::string> arguments{"/proc/self/exe",
                                       "--gtest_filter=OutboxNode.DISABLED_RunsUntilNothingIsDue",
                                       "--gtest_also_run_disabled_tests", "--gtest_brief=1"};
    std::vector<std::string> environment{
        "TEST_NODE=" + node,
        "TEST_STORE=" + store,
        "TEST_PORT=" + std::to_string(port),
        "TEST_NOW=" + std::to_string(base::to_unix(now)),
        std::string("TEST_DIGEST=") + (digest ? "1" : "0"),
    };
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe[1], 3);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    const int error = posix_spawn(&process_, "/proc/self/exe", &actions, nullptr,
                                  pointers(arguments).data(), pointers(environment).data());
    posix_spawn_file_actions_destroy(&actions);
    ::close(pipe[1]);
    char c = 0;
    ready_ = error == 0 && ::read(pipe[0], &c, 1) == 1;
    ::close(pipe[0]);
  }
  ~Child() { (void)end(true); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] bool ready() const { return ready_; }
  /// True if it came to its end by itself and well.
  bool end(bool kill) {
    if (process_ <= 0) return ended_well_;
    if (kill) (void)::kill(process_, SIGKILL);
    int status = 0;
    (void)::waitpid(process_, &status, 0);
    process_ = -1;
    ended_well_ = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return ended_well_;
  }

 private:
  static std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (std::string& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
  }
  pid_t process_ = -1;
  bool ready_ = false;
  bool ended_well_ = false;
};

struct Case {
  std::string name;
  bool mariadb;
  bool digest;
};

class KilledNodes : public testing::TestWithParam<Case> {
 protected:
  KilledNodes() {
    if (!GetParam().mariadb) {
      store_ = (directory_.path() / "store.db").string();
      return;
    }
    script_ = (test::source_root() / "tests/mariadb").string();
    // As short as can be: a unix socket lies in it.
    run_script("up");
    std::ifstream file(database_directory() / "env");
    std::map<std::string, std::string> env;
    for (std::string line; std::getline(file, line);) {
      const auto equals = line.find('=');
      env[line.substr(0, equals)] = line.substr(equals + 1);
    }
    store_ = "mysql:" + env["MARIADB_SOCKET"] + "|" + env["MARIADB_USER"] + "|" +
             env["MARIADB_PASSWORD"] + "|" + env["MARIADB_DATABASE"];
  }
  ~KilledNodes() override {
    if (!script_.empty()) run_script("down");
  }
  [[nodiscard]] std::filesystem::path database_directory() const {
    return directory_.path() / "db";
  }
  void run_script(const std::string& command) const {
    const std::string line =
        script_ + " " + command + " " + database_directory().string() + " >/dev/null";
    if (std::system(line.c_str()) != 0) throw std::runtime_error(line + " failed");
  }

  test::ScratchDirectory directory_;
  std::string script_;
  std::string store_;
};

std::string header(const std::string& mail, const std::string& name) {
  const auto begin = mail.find("\r\n" + name + ":");
  if (begin == std::string::npos) return "";
  const auto value = mail.find_first_not_of(" \r\n", begin + name.size() + 3);
  return mail.substr(value, mail.find("\r\n", value) - value);
}

TEST_P(KilledNodes, EachNoticeOnceOrWithTheSameMessageId) {
  constexpr int notices = 120;
  constexpr int recipients = 8;
  constexpr int most_rounds = 60;
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const test::MailServer server;
  base::Instant now = test::sample_now;
  std::vector<std::string> ids;
  {
    const auto store = store::open_store(options_of(store_));
    store->write([&](store::Unit& unit) {
      for (int i = 0; i < notices; ++i) {
        Notice notice;
        notice.subject_type = "api_key";
        notice.subject_id = "k" + std::to_string(i);
        notice.kind = notify::to_string(notify::Kind::key_expired);
        notice.recipient = "a" + std::to_string(i % recipients) + "@example.com";
        notice.role = "administrator";
        notify::Facts facts = test::sample_facts(notify::Kind::key_expired);
        facts.key->id = notice.subject_id;
        notice.facts = notify::to_json(facts);
        // Not all are due from the start: later ones must not slip into a digest that is bound.
        notice.created = notice.due = notice.next_attempt = now + Seconds{(i % 10) * 600};
        notice.id = store::notice_id(notice);
        EXPECT_TRUE(store::insert_notice(unit, notice));
        ids.push_back(notice.id);
      }
    });
  }

  int kills = 0;
  bool done = false;
  for (int round = 0; round < most_rounds && !done; ++round, now += Seconds{600}) {
    const bool peaceful = round >= 10;
    std::vector<std::unique_ptr<Child>> nodes;
    for (const char* name : {"n1", "n2"}) {
      nodes.push_back(std::make_unique<Child>(name, store_, server.port(), now, GetParam().digest));
      ASSERT_TRUE(nodes.back()->ready());
    }
    if (!peaceful) {
      // The one wait for real time: the instant of a kill is the chance that is tried.
      for (const auto& node : nodes) {
        // The very first has no time to come to its end by itself.
        const unsigned most = round == 0 ? 1 : round % 2 == 0 ? 3000 : 60000;
        std::this_thread::sleep_for(std::chrono::microseconds(random() % most));
        if (!node->end(true)) ++kills;
      }
    }
    for (const auto& node : nodes) {
      const bool well = node->end(false);
      EXPECT_TRUE(well || !peaceful);
    }
    const auto store = store::open_store(options_of(store_));
    done = store->read([](store::Unit& unit) {
      return store::count_notices(unit, NoticeState::sent);
    }) == notices;
  }
  EXPECT_TRUE(done);
  EXPECT_GT(kills, 0) << "otherwise nothing was tried";

  // What came, by Message-ID: of digests, for whom and about which keys.
  std::map<std::string, std::set<std::string>> told;
  std::map<std::string, int> copies;
  for (unsigned i = 1; i <= server.count(); ++i) {
    const std::string mail = server.mail(i);
    const std::string id = header(mail, "Message-ID");
    std::string about = header(mail, "X-Envelope-To");
    for (int key = 0; key < notices; ++key) {
      const std::string line = GetParam().digest ? "    k" : "k";
      const std::string name = line + std::to_string(key) + "\r\n";
      if (mail.find(name) != std::string::npos) about += " k" + std::to_string(key);
    }
    told[id].insert(about);
    ++copies[id];
  }
  int repeats = 0;
  for (const auto& [id, contents] : told) {
    EXPECT_EQ(contents.size(), 1U)
        << "a repeat says the same: " << testing::PrintToString(contents);
    repeats += copies[id] - 1;
  }
  RecordProperty("kills", kills);
  RecordProperty("repeats", repeats);
  EXPECT_LE(repeats, kills) << "a repeat only after a crash, one a crash";

  const auto store = store::open_store(options_of(store_));
  const Config config = config_of(server.port(), GetParam().digest);
  std::map<std::string, std::set<std::string>> announced;  // by Message-ID: keys
  store->read([&](store::Unit& unit) {
    for (const std::string& id : ids) {
      const auto notice = store::find_notice(unit, id);
      ASSERT_TRUE(notice);
      EXPECT_EQ(notice->state, NoticeState::sent);
      EXPECT_EQ(store::subject_notices(unit, "api_key", notice->subject_id, "", {}).size(), 1U);
      store::ActivityFilter filter;
      filter.resource_ids = {id};
      EXPECT_EQ(store::count_activity(unit, filter), 1) << "one record of its end";
      const std::string message = "<" + message_id_of(*notice, config) + ">";
      EXPECT_EQ(told.count(message), 1U) << notice->subject_id << " reached nobody";
      announced[message].insert(notice->subject_id);
    }
  });
  EXPECT_EQ(announced.size(), told.size()) << "nothing was sent that no record knows";
  if (GetParam().digest) {
    EXPECT_LT(told.size(), static_cast<std::size_t>(notices) / 2);
    for (const auto& [id, keys] : announced) {
      if (keys.size() < 2) continue;
      std::set<std::string> words;
      std::istringstream text(*told[id].begin());
      for (std::string word; text >> word;) words.insert(word);
      for (const std::string& key : keys) EXPECT_EQ(words.count(key), 1U) << key;
    }
  } else {
    EXPECT_EQ(told.size(), static_cast<std::size_t>(notices));
  }
}

INSTANTIATE_TEST_SUITE_P(, KilledNodes,
                         testing::Values(Case{"sqlite", false, false},
                                         Case{"sqlite_digest", false, true},
                                         Case{"mariadb", true, false},
                                         Case{"mariadb_digest", true, true}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace sallyport::daemon
