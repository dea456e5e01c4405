// Requests that come in pieces, and what OPEN of new and old files does.
#include <gmock/gmock.h>

#include <algorithm>
#include <span>
#include <thread>

#include "session_fixture.h"

namespace sallyport::sftp {
namespace {

class SessionStreamTest : public SessionTest {
 protected:
  /// The WRITE that `data` makes, with `padding` bytes after it that mean nothing.
  static ReplyBuffer write_request(std::string_view handle, std::uint64_t offset,
                                   std::string_view data, std::size_t padding = 0) {
    ReplyBuffer request;
    request.begin(Type::write, 99);
    request.put_string(handle);
    request.put_u64(offset);
    request.put_string(data);
    for (std::size_t i = 0; i < padding; ++i) request.put_u8(7);
    request.end();
    return request;
  }
  /// As a channel does: what was not consumed comes again, with `step` bytes more.
  void feed_in_steps(const ReplyBuffer& request, std::size_t step) {
    const std::span<const std::uint8_t> all(request.data(), request.size());
    std::size_t consumed = 0;
    for (std::size_t there = step; consumed < all.size(); there += step) {
      ASSERT_LT(there, all.size() + step) << "something is never consumed";
      consumed += session_->consume(all.subspan(consumed, std::min(there, all.size()) - consumed));
    }
    EXPECT_EQ(consumed, all.size());
  }
  /// How many messages of a kind the daemon got. Inside wait_until() only.
  template <class Message>
  std::ptrdiff_t told() {
    return std::count_if(broker_->log.begin(), broker_->log.end(), [](const auto& message) {
      return std::holds_alternative<Message>(message);
    });
  }
  static std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
    return text;
  }
};

TEST_F(SessionStreamTest, WhatLiesReadyIsNotDoneAfterASuspension) {
  start();
  broker_->end_sessions("The account is suspended.");
  // Longer than between two looks at the daemon.
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ReplyBuffer requests;
  for (int i = 0; i < 200; ++i) {
    requests.begin(Type::mkdir, 99);
    requests.put_string("/Shared/" + std::to_string(i));
    requests.put_attributes({});
    requests.end();
  }
  EXPECT_THROW(feed(requests), BrokerError);
  EXPECT_LT(std::distance(fs::directory_iterator(host("tree/Shared")), fs::directory_iterator()),
            17);
}

TEST_F(SessionStreamTest, ALongWriteInPiecesIsOneWrite) {
  start();
  const std::string data = pattern(200'000);
  for (const std::size_t step : {1000U, 16'384U, 20'001U, 32'768U, 199'999U}) {
    for (const std::size_t padding : {0U, 5U}) {
      const std::string handle = open("/Shared/a", put_flags).text;
      feed_in_steps(write_request(handle, 0, data, padding), step);
      EXPECT_EQ(reply().code, Code::ok) << step;
      EXPECT_EQ(write(handle, data.size(), "end").code, Code::ok);
      EXPECT_EQ(by_handle(Type::close, handle).code, Code::ok);
      EXPECT_TRUE(content("tree/Shared/a") == data + "end") << step;
    }
  }
}

TEST_F(SessionStreamTest, AppendingGoesToTheEndInPiecesToo) {
  start();
  ASSERT_EQ(put("/Shared/a", "head").code, Code::ok);
  const std::string data = pattern(80'000);
  const std::string handle = open("/Shared/a", open_flag::write | open_flag::append).text;
  feed_in_steps(write_request(handle, 0, data), 30'000);
  EXPECT_EQ(reply().code, Code::ok);
  EXPECT_TRUE(content("tree/Shared/a") == "head" + data);
}

TEST_F(SessionStreamTest, AnUploadInPiecesHashesAsTheWhole) {
  start();
  const std::string data = pattern(2'000'000);
  const std::string handle = open("/Incoming/Invoices/a", put_flags).text;
  for (std::size_t at = 0; at < data.size(); at += 250'000) {
    feed_in_steps(write_request(handle, at, data.substr(at, 250'000)), 32'000);
    ASSERT_EQ(reply().code, Code::ok);
  }
  ASSERT_EQ(by_handle(Type::close, handle).code, Code::ok);
  const UploadDone done = uploads().at("/Incoming/Invoices/a");
  EXPECT_EQ(done.size, data.size());
  EXPECT_EQ(done.sha256, base::sha256(data));
}

TEST_F(SessionStreamTest, WhatIsRefusedIsRefusedOnceAndTheStreamGoesOn) {
  broker_->settings.limits.max_file_bytes = 60'000;
  start();
  const std::string writable = open("/Shared/a", put_flags).text;
  const std::string data = pattern(100'000);
  feed_in_steps(write_request(writable, 0, data), 20'000);
  const Reply too_large = reply();
  EXPECT_EQ(too_large.code, Code::failure);
  EXPECT_EQ(too_large.text, "The file is larger than is allowed here");
  EXPECT_EQ(write(writable, 0, "small").code, Code::ok);
  EXPECT_EQ(by_handle(Type::close, writable).code, Code::ok);

  const std::string readable = open("/Shared/a", open_flag::read).text;
  feed_in_steps(write_request(readable, 0, data), 20'000);
  EXPECT_EQ(reply().code, Code::permission_denied);
  feed_in_steps(write_request("no such", 0, data), 20'000);
  EXPECT_EQ(reply().code, Code::failure);
  EXPECT_EQ(by_handle(Type::close, readable).code, Code::ok);
}

TEST_F(SessionStreamTest, MoreDataThanThePacketHoldsIsABadMessage) {
  start();
  const std::string handle = open("/Shared/a", put_flags).text;
  ReplyBuffer request = write_request(handle, 0, pattern(50'000));
  request.set_u32(4 + 1 + 4 + 4 + 8 + 8, 50'001);
  feed_in_steps(request, 20'000);
  EXPECT_EQ(reply().code, Code::bad_message);
  EXPECT_TRUE(content("tree/Shared/a").empty());
}

TEST_F(SessionStreamTest, OpeningForWritingCountsOnlyNewFiles) {
  broker_->settings.limits.quota_files_left = 1;
  start();
  ASSERT_EQ(put("/Shared/a", "1").code, Code::ok);
  EXPECT_EQ(put("/Shared/a", "2").code, Code::ok) << "the file was there";
  EXPECT_EQ(open("/Shared/b", put_flags).text, Quota::no_more_files);
  EXPECT_EQ(open("/Shared/a", put_flags | open_flag::exclusive).text, "The file exists already");
  EXPECT_EQ(open("/Shared/c", open_flag::write).code, Code::no_such_file);
  ASSERT_EQ(by_path(Type::remove, "/Shared/a").code, Code::ok);
  EXPECT_EQ(put("/Shared/b", "3").code, Code::ok);
  EXPECT_EQ(open("/Shared", put_flags).type, Type::status) << "a folder";
}

}  // namespace
}  // namespace sallyport::sftp
