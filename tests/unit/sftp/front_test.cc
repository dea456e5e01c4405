// The whole front as a process of its own, with OpenSSH's clients.
#include "sftp/front.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "base/file_io.h"
#include "base/log.h"
#include "test_broker.h"

extern char** environ;
#include "tests/unit/sftp/landlock.h"

namespace sallyport::sftp {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct Result {
  int status = -1;
  std::string output;  ///< of both streams
};

class FrontTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "sftp_front.XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    fs::create_directories(root_ / "partners");
    settings_.socket = root_ / "broker";
    settings_.partner_directory = root_ / "partners" / "acme";
    settings_.policy.shared = true;
    settings_.policy.not_ready_patterns = {"*.part"};
    settings_.front.drain_seconds = 1;
    std::ofstream(root_ / "askpass")
        << "#!/bin/sh\nread -r password < \"$0.text\"\necho \"$password\"\n";
    fs::permissions(root_ / "askpass", fs::perms::owner_all);
    std::ofstream(root_ / "askpass.text") << "correct horse battery\n";
    ASSERT_EQ(shell("ssh-keygen -q -t rsa -b 2048 -N '' -f rsa && ssh-keygen -q -t ed25519 -N '' "
                    "-f ed25519 && "
                    "ssh-keygen -q -t ecdsa -N '' -f ecdsa && ssh-keygen -q -t rsa -b 1024 -N '' "
                    "-f weak && "
                    "echo hello > file")
                  .status,
              0);
  }
  void TearDown() override {
    if (front_ > 0) stop();
    broker_.reset();
    fs::remove_all(root_);
  }

  /// The front first: it must be forked before the broker has threads.
  void start(bool with_daemon = true) {
    FrontOptions options;
    options.listen = {"127.0.0.1:0"};
    options.broker = settings_.socket;
    options.host_keys = root_ / "host-keys";
    options.partners_root = (root_ / "partners").string();
    options.port_file = root_ / "port";
    options.allow_weak_sandbox = !has_landlock();
    front_ = ::fork();
    if (front_ == 0) {
      const int log = ::open((root_ / "log").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(log, STDERR_FILENO);
      try {
        base::init_log("front", base::LogFormat::human, base::Severity::debug);
        run_front(options);
      } catch (const std::exception& error) {
        ::dprintf(STDERR_FILENO, "%s\n", error.what());
        ::_exit(1);
      }
      ::_exit(0);
    }
    if (with_daemon) broker_.emplace(settings_);
    for (int i = 0; i < 1000 && !fs::exists(root_ / "port"); ++i) ::usleep(10000);
    port_ = base::read_file(root_ / "port");
    port_.pop_back();
    if (with_daemon) {
      ASSERT_TRUE(broker_->wait_until([this] { return !broker_->log.empty(); }))
          << "the parent says hello";
    }
  }
  bool has_session() const {
    const std::string pid = std::to_string(front_);
    return !base::read_file("/proc/" + pid + "/task/" + pid + "/children").empty();
  }
  int stop() {
    ::kill(front_, SIGTERM);
    int status = 0;
    ::waitpid(front_, &status, 0);
    front_ = -1;
    return status;
  }

  Result shell(const std::string& command) {
    const std::string line =
        "cd " + root_.string() + " && (" + command + ") > out 2>&1 < /dev/null";
    char name[] = "/bin/sh";
    char flag[] = "-c";
    char* arguments[] = {name, flag, const_cast<char*>(line.c_str()), nullptr};
    pid_t child = -1;
    Result result;
    if (::posix_spawn(&child, name, nullptr, nullptr, arguments, environ) != 0) return result;
    int status = 0;
    ::waitpid(child, &status, 0);
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    result.output = base::read_file(root_ / "out");
    return result;
  }
  /// `command` while two connections are open that say nothing, which end soon after.
  Result beside_two_silent_ones(const std::string& command) {
    return shell("(timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/" + port_ +
                 " 4<>/dev/tcp/127.0.0.1/" + port_ +
                 "; read -r line <&3; read -r line <&4; echo ready > held; sleep 3' &); "
                 "until [ -e held ]; do sleep 0.05; done; timeout 5 " +
                 command);
  }
  void expect_room_soon() {
    Result result;
    for (int i = 0; i < 50; ++i) {
      result = sftp("ls");
      if (result.status == 0) break;
      ::usleep(100000);
    }
    EXPECT_EQ(result.status, 0) << result.output;
  }
  std::string options(const std::string& key) {
    std::string text =
        " -F /dev/null -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o "
        "LogLevel=INFO "
        "-o ConnectTimeout=20 -o NumberOfPasswordPrompts=1 ";
    if (key.empty()) {
      text += "-o PubkeyAuthentication=no ";
    } else {
      text += "-o IdentitiesOnly=yes -i " + key + " ";
    }
    return text;
  }
  std::string environment() {
    return "env SSH_ASKPASS=" + (root_ / "askpass").string() +
           " SSH_ASKPASS_REQUIRE=force timeout 30 ";
  }
  Result sftp(const std::string& batch, const std::string& key = "rsa",
              const std::string& user = "acme", const std::string& more = "") {
    std::ofstream(root_ / "batch") << batch << "\n";
    // The first of two settings counts, and -b means BatchMode=yes, which would forbid passwords.
    return shell(environment() + "sftp -o BatchMode=no" + more + options(key) + " -P " + port_ +
                 " -b batch " + user + "@127.0.0.1");
  }
  Result ssh(const std::string& arguments, const std::string& command) {
    return shell(environment() + "ssh" + options("rsa") + arguments + " -p " + port_ +
                 " acme@127.0.0.1 " + command);
  }

  fs::path root_;
  test::TestBroker::Settings settings_;
  std::optional<test::TestBroker> broker_;
  pid_t front_ = -1;
  std::string port_;
};

TEST_F(FrontTest, EveryKindOfKeyLogsInAndTransfers) {
  start();
  for (const char* key : {"rsa", "ed25519", "ecdsa"}) {
    const Result result = sftp(
        "put file /Shared/file\nget /Shared/file back\nrm /Shared/file\n"
        "put file /Incoming/Invoices/in",
        key);
    EXPECT_EQ(result.status, 0) << key << ": " << result.output;
    EXPECT_EQ(base::read_file(root_ / "back"), "hello\n");
    fs::remove(root_ / "back");
  }
  EXPECT_TRUE(
      broker_->wait_until([this] { return broker_->uploads.count("/Incoming/Invoices/in") == 1; }));
}

TEST_F(FrontTest, ShortRsaKeysAreRefused) {
  start();
  EXPECT_THAT(sftp("ls", "weak", "acme", " -o PasswordAuthentication=no").output,
              HasSubstr("ermission denied"));
}

TEST_F(FrontTest, PasswordsWorkAndWrongOnesDoNot) {
  start();
  EXPECT_EQ(sftp("ls", "").status, 0);
  std::ofstream(root_ / "askpass.text") << "wrong\n";
  EXPECT_THAT(sftp("ls", "").output, HasSubstr("Permission denied"));
  EXPECT_THAT(sftp("ls", "", "nobody").output, HasSubstr("Permission denied"));
}

TEST_F(FrontTest, KeyAndPasswordNeedsBoth) {
  settings_.key_and_password = true;
  start();
  EXPECT_EQ(sftp("ls", "rsa").status, 0);
  EXPECT_NE(sftp("ls", "").status, 0);
  std::ofstream(root_ / "askpass.text") << "wrong\n";
  EXPECT_NE(sftp("ls", "rsa").status, 0);
}

TEST_F(FrontTest, TooManyAttemptsEndTheConnection) {
  settings_.front.max_attempts = 3;
  start();
  std::ofstream(root_ / "askpass.text") << "wrong\n";
  const Result result = sftp("ls", "", "acme", " -o NumberOfPasswordPrompts=10");
  EXPECT_THAT(result.output, HasSubstr("Too many authentication failures"));
  EXPECT_TRUE(broker_->wait_until([this] {
    for (const Message& message : broker_->log) {
      const auto* failure = std::get_if<LoginFailure>(&message);
      if (failure != nullptr && failure->reason == "max_attempts" && failure->user == "acme")
        return true;
    }
    return false;
  }));
}

TEST_F(FrontTest, NothingButSftpIsGiven) {
  start();
  EXPECT_NE(ssh("", "id").status, 0);
  EXPECT_NE(ssh("-tt", "").status, 0);
  EXPECT_NE(ssh("-s", "shell").status, 0);
  EXPECT_NE(ssh("-W 127.0.0.1:" + port_, "").status, 0);
  EXPECT_THAT(ssh("-N -o ExitOnForwardFailure=yes -R 0:127.0.0.1:1", "").output,
              HasSubstr("failed"));
}

TEST_F(FrontTest, SHA1SignaturesAreRefusedAtOnce) {
  start();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_NE(
      sftp("ls", "rsa", "acme", " -o PubkeyAcceptedAlgorithms=ssh-rsa -o PasswordAuthentication=no")
          .status,
      0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST_F(FrontTest, TheDaemonEndsSessionsEvenInMidTransfer) {
  start();
  ASSERT_EQ(shell("truncate -s 300M zeros").status, 0);
  Result result;
  std::thread client(
      [this, &result] { result = sftp("put zeros /Shared/zeros", "rsa", "acme", " -l 8000"); });
  EXPECT_TRUE(broker_->wait_until([this] {
    for (const Message& message : broker_->log) {
      const auto* login = std::get_if<LoginQuery>(&message);
      if (login != nullptr && login->signature_verified) return true;
    }
    return false;
  }));
  for (int i = 0; i < 500 && !fs::exists(root_ / "partners/acme/tree/Shared/zeros"); ++i)
    ::usleep(10000);
  const auto begin = std::chrono::steady_clock::now();
  broker_->end_sessions("Your access was suspended");
  client.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.output, HasSubstr("Your access was suspended"));
}

TEST_F(FrontTest, BannedAddressesAreTurnedAwayWithAReason) {
  start();
  ASSERT_EQ(sftp("ls").status, 0);
  broker_->ban("127.0.0.1", ::time(nullptr) + 600);
  Result result;
  for (int i = 0; i < 50; ++i) {
    result = sftp("ls");
    if (result.status != 0) break;
  }
  EXPECT_THAT(result.output, HasSubstr("Too many failed logins"));
  broker_->ban("127.0.0.1", 0);
  for (int i = 0; i < 50 && result.status != 0; ++i) result = sftp("ls");
  EXPECT_EQ(result.status, 0);
}

TEST_F(FrontTest, WithoutADaemonThePeerIsToldToComeBack) {
  start(false);
  EXPECT_THAT(sftp("ls").output, HasSubstr("temporarily unavailable"));
}

TEST_F(FrontTest, WhoComesWhileTheDaemonRestartsWaitsForIt) {
  start(false);
  Result result;
  std::thread client([&] { result = sftp("ls"); });
  // It is under way: accepted, and without anybody to ask.
  for (int i = 0; i < 500 && !has_session(); ++i) ::usleep(10000);
  EXPECT_TRUE(has_session());
  broker_.emplace(settings_);
  client.join();
  EXPECT_EQ(result.status, 0) << result.output;
}

TEST_F(FrontTest, UnauthenticatedConnectionsOfAnAddressAreLimited) {
  settings_.front.max_unauthenticated_per_address = 2;
  start();
  const Result full = beside_two_silent_ones("ssh-keyscan -p " + port_ + " 127.0.0.1");
  EXPECT_THAT(full.output, testing::Not(HasSubstr("AAAA")));
  expect_room_soon();
}

TEST_F(FrontTest, ConnectionsAreLimitedInAllAndNoRoomIsForEver) {
  settings_.front.max_connections = 2;
  start();
  const Result full =
      beside_two_silent_ones("ssh -v -p " + port_ + options("ed25519") + "acme@127.0.0.1");
  EXPECT_THAT(full.output, HasSubstr("Too many connections, please try again later"));
  expect_room_soon();
}

TEST_F(FrontTest, TheDaemonHearsOfConnectionsThatNeverLogIn) {
  start();
  ASSERT_EQ(sftp("ls").status, 0);
  const auto come_and_go = [this](int times) {
    const Result gone =
        shell("for i in $(seq " + std::to_string(times) +
              "); do bash -c 'exec 3<>/dev/tcp/127.0.0.1/" + port_ + "; read -r line <&3'; done");
    ASSERT_EQ(gone.status, 0) << gone.output;
  };
  std::vector<std::uint32_t> counts;
  const auto told = [&] {
    counts.clear();
    for (const Message& message : broker_->log) {
      const auto* count = std::get_if<RefusalCount>(&message);
      if (count == nullptr) continue;
      EXPECT_EQ(count->reason, "no_login");
      EXPECT_EQ(count->network, "127.0.0.1");
      counts.push_back(count->count);
    }
    return counts.size();
  };
  come_and_go(1);
  EXPECT_TRUE(broker_->wait_until([&] { return told() == 1; }));
  EXPECT_EQ(counts, (std::vector<std::uint32_t>{1})) << "who logged in is not counted";
  // Then every ten seconds; a flood is told of at once.
  come_and_go(100);
  EXPECT_TRUE(broker_->wait_until([&] { return told() == 2; }));
  EXPECT_EQ(counts, (std::vector<std::uint32_t>{1, 100}));
}

TEST_F(FrontTest, LoginGraceEndsSilentConnections) {
  settings_.front.login_grace_seconds = 1;
  start();
  const Result result = shell("timeout 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/" + port_ +
                              "; cat <&3 > /dev/null; echo ended'");
  EXPECT_THAT(result.output, HasSubstr("ended"));
}

TEST_F(FrontTest, StopsWhenToldTo) {
  start();
  // What a session that was taken over could raise in it.
  ASSERT_EQ(::kill(front_, SIGIO), 0);
  ASSERT_EQ(sftp("ls").status, 0);
  const int status = stop();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_THAT(base::read_file(root_ / "log"), HasSubstr("sftp.stopped"));
}

TEST_F(FrontTest, APortInUseAndADamagedHostKeyAreSaidInOneLine) {
  start();
  std::string log;
  for (int i = 0; i < 500 && log.find("listening on") == std::string::npos; ++i) {
    ::usleep(10000);
    log = base::read_file(root_ / "log");
  }
  EXPECT_THAT(log, HasSubstr("listening on 127.0.0.1:" + port_));
  FrontOptions options;
  options.listen = {"127.0.0.1:" + port_};
  options.broker = settings_.socket;
  options.host_keys = root_ / "other-keys";
  options.partners_root = (root_ / "partners").string();
  options.allow_weak_sandbox = !has_landlock();
  try {
    run_front(options);
    FAIL() << "it started";
  } catch (const std::exception& error) {
    EXPECT_THAT(error.what(), HasSubstr("another program has the port already"));
  }
  std::ofstream(root_ / "other-keys" / "ssh_host_rsa_key") << "nonsense";
  try {
    run_front(options);
    FAIL() << "it started";
  } catch (const std::exception& error) {
    EXPECT_THAT(error.what(), HasSubstr("ssh_host_rsa_key"));
    EXPECT_THAT(error.what(), HasSubstr("damaged"));
  }
}

}  // namespace
}  // namespace sallyport::sftp
