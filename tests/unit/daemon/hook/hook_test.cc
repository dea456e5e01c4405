// The hook socket from both ends: what the daemon asks, what sallyport-hook runs, and that it runs
// nothing but what its own configuration names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/c_handle.h"
#include "base/error.h"
#include "base/file_io.h"
#include "daemon/hook/hook_client.h"
#include "daemon/hook/hook_message.h"
#include "daemon/hook/hook_service.h"

namespace sallyport::daemon {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(HookMessage, RequestsComeBackAsTheyWere) {
  const HookRequest sent{{"SALLYPORT_NAME=a b\nc.csv", "SALLYPORT_OBJECT="}, seconds{7}};
  const auto got = decode_hook_request(encode(sent));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->facts, sent.facts);
  EXPECT_EQ(got->limit, sent.limit);
}

TEST(HookMessage, RequestsCutShortAnywhereAreNotRequests) {
  const std::string whole = encode(HookRequest{{"SALLYPORT_NAME=a"}, seconds{7}});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(decode_hook_request(whole.substr(0, size))) << size;
  }
}

TEST(HookMessage, OnlyFactsOfOursPass) {
  for (const char* fact : {"LD_PRELOAD=/tmp/x.so", "PATH=/tmp", "SALLYPORT_=x", "SALLYPORT_x=1",
                           "SALLYPORT_NAME", "BASH_FUNC_x%%=() { :; }"}) {
    EXPECT_FALSE(decode_hook_request(encode(HookRequest{{fact}, seconds{7}}))) << fact;
  }
  EXPECT_FALSE(decode_hook_request(encode(HookRequest{{}, seconds{0}})));
  EXPECT_FALSE(decode_hook_request(encode(HookRequest{{}, hook_longest + seconds{1}})));
  EXPECT_FALSE(decode_hook_request(std::string("SALLYPORT_NAME=a\0\0", 18)));
}

TEST(HookMessage, OutcomesComeBackAsTheyWere) {
  HookOutcome ended;
  ended.exit_code = 3;
  ended.output = "no such\nthing";
  auto got = decode_hook_outcome(encode(ended));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->exit_code, 3);
  EXPECT_EQ(got->output, ended.output);

  HookOutcome refused;
  refused.refused = "not\ntoday";
  got = decode_hook_outcome(encode(refused));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->refused, "not today");
  EXPECT_FALSE(got->succeeded());

  HookOutcome killed;
  killed.signal = 9;
  got = decode_hook_outcome(encode(killed));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->signal, 9);
  for (const char* bytes :
       {"", "exit 0", "exit \n", "exit 256\n", "exit 0x\n", "signal 0\n", "?\n"}) {
    EXPECT_FALSE(decode_hook_outcome(bytes)) << bytes;
  }
}

/// A directory with a hook.conf, and a service that answers one request on a socket.
class HookService : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string path = (std::filesystem::temp_directory_path() / "hook-XXXXXX").string();
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    dir_ = path;
  }
  void TearDown() override {
    if (service_.joinable()) service_.join();
    std::filesystem::remove_all(dir_);
  }

  void configure(const std::string& text) { base::write_file_durably(configuration(), text, 0600); }
  [[nodiscard]] std::string configuration() const { return dir_ / "hook.conf"; }
  [[nodiscard]] std::string socket_path() const { return dir_ / "hook.sock"; }

  void listen() {
    base::UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket_path().c_str(), sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    service_ = std::thread([this, listener = std::move(listener)] {
      const base::UniqueFd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      serve_hook(peer.get(), peer.get(), configuration());
    });
  }

  HookOutcome ask(const HookRequest& request) {
    listen();
    return ask_hook_service(socket_path(), request);
  }

  std::filesystem::path dir_;
  std::thread service_;
};

TEST_F(HookService, RunsItsOwnCommandWithTheFactsAndNothingOfOurs) {
  ::setenv("SALLYPORT_TEST_SECRET", "hidden", 1);
  configure("# runs env\n\n/usr/bin/env\n");
  const HookOutcome outcome = ask({{"SALLYPORT_NAME=a'; rm -rf $HOME"}, seconds{10}});
  EXPECT_TRUE(outcome.succeeded());
  EXPECT_EQ(outcome.output,
            "PATH=/usr/local/bin:/usr/bin:/bin\nLANG=C.UTF-8\nSALLYPORT_NAME=a'; rm -rf $HOME\n");
}

TEST_F(HookService, TellsHowItEnded) {
  configure("/bin/sh\n-c\necho out; echo why >&2; exit 5\n");
  const HookOutcome outcome = ask({{}, seconds{10}});
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_EQ(outcome.output, "why\n");
}

TEST_F(HookService, EndsItInTime) {
  configure("/bin/sleep\n1000\n");
  EXPECT_TRUE(ask({{}, seconds{1}}).timed_out);
}

TEST_F(HookService, EndsItWhenNobodyWaitsForItAnyMore) {
  ::signal(SIGPIPE, SIG_IGN);  // as the program does
  configure("/bin/sleep\n1000\n");
  const base::UniqueFd stop(::eventfd(1, EFD_CLOEXEC));
  listen();
  const HookOutcome outcome = ask_hook_service(socket_path(), {{}, seconds{1000}}, stop.get());
  EXPECT_THAT(outcome.refused, HasSubstr("interrupted"));
  service_.join();  // or the test's own time limit
}

TEST_F(HookService, WithoutAConfigurationItSaysWhatToDo) {
  const HookOutcome outcome = ask({{}, seconds{1}});
  EXPECT_THAT(outcome.refused, HasSubstr(configuration()));
}

TEST_F(HookService, AnAbsentServiceIsNamed) {
  try {
    static_cast<void>(ask_hook_service(socket_path(), {{}, seconds{1}}));
    FAIL() << "there is no service";
  } catch (const base::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("sallyport-hook.socket"));
  }
}

TEST_F(HookService, TakesNoCommandThatOthersCanWrite) {
  configure("/bin/true\n");
  EXPECT_THAT(read_hook_command(configuration()), ElementsAre("/bin/true"));
  ASSERT_EQ(::chmod(configuration().c_str(), 0620), 0);
  EXPECT_THROW(static_cast<void>(read_hook_command(configuration())), base::Error);
  ASSERT_EQ(::chmod(configuration().c_str(), 0602), 0);
  EXPECT_THROW(static_cast<void>(read_hook_command(configuration())), base::Error);
  ASSERT_EQ(::chmod(configuration().c_str(), 0600), 0);
  for (const char* text : {"", "# nothing\n", "true\n", "/bin/true\n\tx\n"}) {
    configure(text);
    EXPECT_THROW(static_cast<void>(read_hook_command(configuration())), base::Error) << text;
  }
  std::filesystem::create_symlink("/etc/passwd", dir_ / "link");
  EXPECT_THROW(static_cast<void>(read_hook_command(dir_ / "link")), base::Error);
}

}  // namespace
}  // namespace sallyport::daemon
