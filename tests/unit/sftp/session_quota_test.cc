// What counts against a quota, and what is freed.
#include "session_fixture.h"

namespace sallyport::sftp {
namespace {

TEST_F(SessionTest, QuotaAndSizeLimitsAreToldAndFreed) {
  broker_->settings.limits.quota_bytes_left = 10;
  broker_->settings.limits.quota_files_left = 2;
  broker_->settings.limits.max_file_bytes = 8;
  start();
  EXPECT_EQ(put("/Shared/a", "123456789").text, "The file is larger than is allowed here");
  EXPECT_EQ(by_path(Type::remove, "/Shared/a").code, Code::ok);
  EXPECT_EQ(put("/Shared/a", "12345678").code, Code::ok);
  EXPECT_EQ(put("/Shared/b", "123").text, Quota::no_more_bytes);
  EXPECT_EQ(open("/Shared/c", put_flags).text, Quota::no_more_files);
  EXPECT_EQ(by_path(Type::remove, "/Shared/a").code, Code::ok);
  EXPECT_EQ(put("/Shared/b", "123").code, Code::ok);
}

TEST_F(SessionTest, NothingIsFreedTwice) {
  broker_->settings.limits.quota_bytes_left = 10;
  start();
  ASSERT_EQ(put("/Shared/a", "12345678").code, Code::ok);
  const std::string first = open("/Shared/a", open_flag::write).text;
  const std::string second = open("/Shared/a", open_flag::write).text;
  ASSERT_EQ(set_size_of(first, 0).code, Code::ok);
  ASSERT_EQ(set_size_of(second, 0).code, Code::ok) << "which is empty already";
  ASSERT_EQ(write(second, 0, "12345678").code, Code::ok);
  EXPECT_EQ(write(first, 0, "87654321").code, Code::ok) << "the same bytes, counted once";
  EXPECT_EQ(write(first, 8, "901").text, Quota::no_more_bytes);
  ASSERT_EQ(by_handle(Type::close, first).code, Code::ok);
  ASSERT_EQ(by_handle(Type::close, second).code, Code::ok);
  ASSERT_EQ(by_path(Type::remove, "/Shared/a").code, Code::ok);
  ASSERT_EQ(put("/Incoming/Invoices/a.part", "12345678").code, Code::ok);
  for (int i = 0; i < 3; ++i)
    ASSERT_EQ(posix_rename("/Incoming/Invoices/a.part", "/Incoming/Invoices/a.part").code,
              Code::ok);
  EXPECT_EQ(put("/Shared/b", "123").text, Quota::no_more_bytes);
}

TEST_F(SessionTest, WhatIsOpenCountsWithoutItsName) {
  const std::string large(100'000, 'x');
  broker_->settings.limits.quota_bytes_left = 250'000;
  start();
  const auto held = [this] {
    std::vector<HeldFile> all;
    Session::Files seen;
    session_->add_held(all, seen);
    return all;
  };
  context_->quota.count_held_by(held);
  ASSERT_EQ(put("/Shared/removed", large).code, Code::ok);
  ASSERT_EQ(put("/Shared/replaced", large).code, Code::ok);
  const std::string removed = open("/Shared/removed", open_flag::read).text;
  const std::string replaced = open("/Shared/replaced", open_flag::read).text;
  ASSERT_EQ(put("/Shared/new", "new").code, Code::ok);
  EXPECT_TRUE(held().empty());
  ASSERT_EQ(by_path(Type::remove, "/Shared/removed").code, Code::ok);
  ASSERT_EQ(posix_rename("/Shared/new", "/Shared/replaced").code, Code::ok);
  ASSERT_EQ(held().size(), 2U);
  EXPECT_EQ(held()[0].bytes, 100'000U);
  EXPECT_EQ(put("/Shared/again", large).text, Quota::no_more_bytes);
  EXPECT_EQ(read(removed, 0, 10).text, "xxxxxxxxxx") << "who has it open goes on";
  ASSERT_EQ(by_handle(Type::close, removed).code, Code::ok);
  EXPECT_EQ(put("/Shared/again", large).code, Code::ok);
  EXPECT_EQ(put("/Shared/more", large).text, Quota::no_more_bytes);
  ASSERT_EQ(by_handle(Type::close, replaced).code, Code::ok);
  EXPECT_EQ(put("/Shared/more", large).code, Code::ok);
  EXPECT_TRUE(held().empty());
}

TEST_F(SessionTest, NothingIsFreedOfAFileWithoutItsName) {
  broker_->settings.limits.quota_bytes_left = 250'000;
  start();
  context_->quota.count_held_by([this] {
    std::vector<HeldFile> all;
    Session::Files seen;
    session_->add_held(all, seen);
    return all;
  });
  const std::string large(100'000, 'x');
  ASSERT_EQ(put("/Shared/kept", large).code, Code::ok);
  for (int i = 0; i < 5; ++i) {
    const std::string handle = open("/Shared/f", put_flags).text;
    const std::string again = open("/Shared/f", open_flag::read).text;
    ASSERT_EQ(set_size_of(handle, 100'000).code, Code::ok);
    ASSERT_EQ(by_path(Type::remove, "/Shared/f").code, Code::ok);
    ASSERT_EQ(set_size_of(handle, 0).code, Code::ok) << "which frees nothing more";
    ASSERT_EQ(write(handle, 0, large).code, Code::ok);
    EXPECT_EQ(write(handle, 100'000, large).text, Quota::no_more_bytes) << "it is held, once";
    ASSERT_EQ(by_handle(Type::close, handle).code, Code::ok);
    EXPECT_EQ(put("/Shared/g", large).code, Code::failure) << "it is open still";
    ASSERT_EQ(by_path(Type::remove, "/Shared/g").code, Code::ok);
    ASSERT_EQ(by_handle(Type::close, again).code, Code::ok);
  }
  ASSERT_EQ(put("/Shared/f", large).code, Code::ok);
  EXPECT_EQ(put("/Shared/g", large).text, Quota::no_more_bytes);
}

TEST_F(SessionTest, APartialThatIsReplacedIsFreedOnce) {
  broker_->settings.limits.quota_bytes_left = 250'000;
  start();
  for (int i = 0; i < 5; ++i) {
    const std::string handle = open("/Incoming/Invoices/p", put_flags).text;
    ASSERT_EQ(write(handle, 1, std::string(99'999, 'x')).code, Code::ok) << i;
    EXPECT_EQ(by_handle(Type::close, handle).code, Code::failure) << "without its first byte";
  }
  EXPECT_EQ(put("/Shared/f", std::string(100'000, 'x')).code, Code::ok);
  EXPECT_EQ(put("/Shared/g", std::string(100'000, 'x')).text, Quota::no_more_bytes);
}

TEST_F(SessionTest, WhatWePutIntoOutgoingCountsForNobody) {
  broker_->settings.limits.quota_bytes_left = 250'000;
  base::write_file_durably(host("tree/Outgoing/Orders/ours"), std::string(100'000, 'x'));
  start();
  const std::string handle = open("/Outgoing/Orders/ours", open_flag::read).text;
  ASSERT_EQ(by_path(Type::remove, "/Outgoing/Orders/ours").code, Code::ok);
  std::vector<HeldFile> held;
  Session::Files seen;
  session_->add_held(held, seen);
  EXPECT_TRUE(held.empty());
  EXPECT_EQ(by_handle(Type::close, handle).code, Code::ok);
}

}  // namespace
}  // namespace sallyport::sftp
