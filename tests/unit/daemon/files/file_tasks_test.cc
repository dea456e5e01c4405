// Hooks, webhooks and receipts: what follows a delivery.
#include "daemon/files/file_tasks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "daemon/files/after_delivery.h"
#include "gateway.h"

namespace sallyport::daemon::test {
namespace {

using store::FileState;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class TasksTest : public testing::Test {
 protected:
  static void configure(Config& config) {
    config.partner.signature = "optional";
    config.files.hook_user = "root";
  }
  static void with_a_hook_that_fails(Config& config) {
    configure(config);
    config.files.hook = {"/nonexistent/hook"};
  }
  /// A file whose hook has failed once.
  std::string delivered_with_a_task(Gateway& gateway, FileTasks& tasks) {
    std::string id = gateway.upload("Invoices", "a.csv", "content");
    gateway.work();
    run(gateway, tasks);
    EXPECT_THAT(pending(gateway, id), SizeIs(1));
    return id;
  }
  void run(Gateway& gateway, FileTasks& tasks) {
    tasks.run_pass(gateway.clock.now());
    while (tasks.work_once()) {
    }
    static_cast<void>(tasks.earliest());  // as the scheduler does after each
  }
  /// The kinds that were given up and are asked for again.
  std::vector<std::string> again(Gateway& gateway, const std::string& id) {
    return gateway.real_store->write([&](store::Unit& unit) {
      return retry_given_up_tasks(unit, *store::find_file(unit, id), "ops", gateway.clock.now());
    });
  }
  /// What health says of those that were given up.
  std::string told(Gateway& gateway) {
    for (const auto& condition : gateway.health.list()) {
      if (condition.name == "files.given_up") return condition.sentence;
    }
    return "";
  }
  std::vector<store::FileTask> pending(Gateway& gateway, const std::string& id) {
    return gateway.real_store->read([&](store::Unit& unit) { return store::file_tasks(unit, id); });
  }
};

TEST_F(TasksTest, AHookGetsTheFactsInItsEnvironmentAndNothingElse) {
  if (::geteuid() != 0) GTEST_SKIP() << "hooks of this test run as root";
  Gateway gateway([](Config& config) {
    configure(config);
    config.files.hook = {
        "/bin/sh", "-c",
        "env > \"$SALLYPORT_PATH.env\"; cat \"$SALLYPORT_PATH\" > \"$SALLYPORT_PATH.copy\""};
  });
  FileTasks tasks(*gateway.context);
  const std::string id = gateway.upload("Invoices", "$(touch x) ; a.csv", "content");
  gateway.work();
  EXPECT_EQ(gateway.file(id).state, FileState::archived) << "not held up by the hook";
  run(gateway, tasks);
  EXPECT_EQ(content_of(gateway.inbound() / "Invoices/$(touch x) ; a.csv.copy"), "content");
  const std::string environment = content_of(gateway.inbound() / "Invoices/$(touch x) ; a.csv.env");
  EXPECT_THAT(environment, HasSubstr("SALLYPORT_FILE_ID=" + id));
  EXPECT_THAT(environment, HasSubstr("SALLYPORT_PARTNER=acme"));
  EXPECT_THAT(environment, testing::Not(HasSubstr("HOME=/root")));
  EXPECT_THAT(pending(gateway, id), IsEmpty());
}

TEST_F(TasksTest, ATaskIsGivenUpAfterTwoDaysWithAWordAndTriedAgainWhenAsked) {
  Gateway gateway(with_a_hook_that_fails);
  FileTasks tasks(*gateway.context);
  const std::string id = delivered_with_a_task(gateway, tasks);
  gateway.clock.advance(base::Seconds{2 * 86400});
  run(gateway, tasks);
  EXPECT_THAT(pending(gateway, id), IsEmpty());
  EXPECT_THAT(told(gateway), HasSubstr("files retry " + id));
  EXPECT_EQ(again(gateway, id), std::vector<std::string>{"hook"});
  EXPECT_THAT(pending(gateway, id), SizeIs(1));
  EXPECT_THAT(again(gateway, id), IsEmpty()) << "once";
  gateway.clock.advance(base::Seconds{2 * 86400});
  run(gateway, tasks);
  EXPECT_EQ(again(gateway, id), std::vector<std::string>{"hook"}) << "given up again";
}

TEST_F(TasksTest, WhatWasGivenUpIsToldUntilNothingIsAndAfterARestart) {
  Gateway gateway(with_a_hook_that_fails);
  std::vector<std::string> ids;
  {
    FileTasks tasks(*gateway.context);
    for (int i = 0; i < 2; ++i) ids.push_back(delivered_with_a_task(gateway, tasks));
    gateway.clock.advance(base::Seconds{2 * 86400});
    run(gateway, tasks);
  }
  gateway.health.clear("files.given_up");  // as a new process has it
  FileTasks tasks(*gateway.context);
  EXPECT_EQ(tasks.earliest(), std::nullopt);
  if (told(gateway).find(ids[0]) == std::string::npos) std::swap(ids[0], ids[1]);
  EXPECT_THAT(told(gateway), HasSubstr(ids[0]));
  again(gateway, ids[0]);
  run(gateway, tasks);
  EXPECT_THAT(told(gateway), HasSubstr(ids[1]));
  again(gateway, ids[1]);
  run(gateway, tasks);
  EXPECT_EQ(told(gateway), "");
}

TEST_F(TasksTest, ATaskThatWasReplacedWhileItRanIsStillDue) {
  Gateway gateway(configure);
  gateway.set_policies(R"({"receipts": true})");
  FileTasks tasks(*gateway.context);
  const std::string id = gateway.upload("Invoices", "a.csv", "content");
  gateway.work();
  ASSERT_THAT(pending(gateway, id), SizeIs(1));
  tasks.run_pass(gateway.clock.now());
  gateway.clock.advance(base::Seconds{5});
  gateway.real_store->write([&](store::Unit& unit) {
    store::put_file_task(unit, {id, "receipt", gateway.clock.now(), gateway.clock.now(), 0, ""});
  });
  EXPECT_TRUE(tasks.work_once());
  EXPECT_THAT(pending(gateway, id), SizeIs(1));
  run(gateway, tasks);
  EXPECT_THAT(pending(gateway, id), IsEmpty());
}

TEST_F(TasksTest, AHookThatFailsHangsOrFloodsIsTriedAgainAndBounded) {
  if (::geteuid() != 0) GTEST_SKIP() << "hooks of this test run as root";
  std::vector<std::string> command{"/bin/sh", "-c", "echo no disk >&2; exit 3"};
  Gateway gateway([&](Config& config) {
    configure(config);
    config.files.hook = command;
    config.files.hook_timeout = base::Seconds{1};
  });
  FileTasks tasks(*gateway.context);
  const std::string id = gateway.upload("Invoices", "a.csv", "content");
  gateway.work();
  run(gateway, tasks);
  ASSERT_THAT(pending(gateway, id), SizeIs(1));
  EXPECT_THAT(pending(gateway, id)[0].last_error, HasSubstr("status 3: no disk"));
  EXPECT_FALSE(gateway.health.good());

  const auto set_hook = [&](const std::string& script) {
    Config config = *gateway.config->get();
    config.files.hook = {"/bin/sh", "-c", script};
    gateway.config->set(std::make_shared<const Config>(std::move(config)));
    gateway.clock.advance(base::Seconds{3600});
    run(gateway, tasks);
  };
  set_hook("sleep 100");
  EXPECT_THAT(pending(gateway, id)[0].last_error, HasSubstr("did not end within 1s"));
  set_hook("head -c 100000000 /dev/zero; exit 0");
  EXPECT_THAT(pending(gateway, id), IsEmpty());
  EXPECT_TRUE(gateway.health.good());
  EXPECT_EQ(gateway.file(id).state, FileState::archived);
}

TEST_F(TasksTest, AHookThatRunsAtTheStopIsEndedAndRunAgainLater) {
  if (::geteuid() != 0) GTEST_SKIP() << "hooks of this test run as root";
  Gateway gateway([](Config& config) {
    configure(config);
    config.files.hook = {"/bin/sh", "-c", "echo $$ > \"$SALLYPORT_PATH.pid\"; exec sleep 1000"};
    config.files.hook_timeout = base::Seconds{1000};
  });
  const std::string id = gateway.upload("Invoices", "a.csv", "content");
  gateway.work();
  FileTasks tasks(*gateway.context);
  tasks.start();
  tasks.run_pass(gateway.clock.now());
  const fs::path pid_file = gateway.inbound() / "Invoices/a.csv.pid";
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while ((!fs::exists(pid_file) || fs::file_size(pid_file) == 0) &&
         std::chrono::steady_clock::now() < give_up) {
    std::this_thread::yield();
  }
  const int pid = std::stoi(content_of(pid_file));
  tasks.stop();
  EXPECT_EQ(::kill(pid, 0), -1) << "the hook outlives the daemon";
  ASSERT_THAT(pending(gateway, id), SizeIs(1));
  EXPECT_EQ(pending(gateway, id)[0].attempts, 0) << "it did not fail";
  EXPECT_TRUE(gateway.health.good());
}

TEST_F(TasksTest, ATaskIsTriedAgainSoonAlthoughTheClockWentBack) {
  Gateway gateway(with_a_hook_that_fails);
  FileTasks tasks(*gateway.context);
  const std::string id = delivered_with_a_task(gateway, tasks);
  gateway.clock.set(gateway.clock.now() - base::Seconds{30 * 86400});
  ASSERT_LE(tasks.earliest().value(), gateway.clock.now());
  run(gateway, tasks);
  ASSERT_THAT(pending(gateway, id), SizeIs(1));
  EXPECT_EQ(pending(gateway, id)[0].attempts, 2);
  EXPECT_LE(pending(gateway, id)[0].next_due, gateway.clock.now() + base::Seconds{3600});
}

TEST_F(TasksTest, ReceiptsAreClearSignedAndThereOnce) {
  Gateway gateway([](Config& config) {
    configure(config);
    config.partner.receipts = true;
  });
  FileTasks tasks(*gateway.context);
  const std::string good = gateway.upload("Invoices", "a.csv", "content");
  const std::string bad = gateway.upload("Invoices", "b.pgp", "content");
  gateway.work();
  run(gateway, tasks);
  const std::string receipt =
      content_of(gateway.tree() / ("Outgoing/Receipts/a.csv." + good + ".json.asc"));
  EXPECT_THAT(receipt, HasSubstr("BEGIN PGP SIGNED MESSAGE"));
  EXPECT_THAT(receipt, HasSubstr("\"outcome\": \"delivered\""));
  EXPECT_THAT(receipt, HasSubstr(gateway.file(good).sha256));
  EXPECT_THAT(content_of(gateway.tree() / ("Outgoing/Receipts/b.pgp." + bad + ".json.asc")),
              HasSubstr("not-pgp"));
  EXPECT_THAT(files_below(gateway.tree() / "Outgoing"), SizeIs(2));
  EXPECT_EQ(write_receipt(*gateway.context, gateway.file(good)), "") << "again, after a crash";
  store::File retried = gateway.file(bad);
  retried.state = FileState::delivered;
  EXPECT_EQ(write_receipt(*gateway.context, retried), "");
  EXPECT_THAT(content_of(gateway.tree() / ("Outgoing/Receipts/b.pgp." + bad + ".json.asc")),
              HasSubstr("\"outcome\": \"delivered\""));
  EXPECT_THAT(files_below(gateway.tree() / "Outgoing"), SizeIs(2));
  EXPECT_THAT(files_below(gateway.root() / "partners/acme/sending"), IsEmpty());
}

}  // namespace
}  // namespace sallyport::daemon::test
