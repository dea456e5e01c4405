// A Session driven by packets: what its tests share. Real folders in a temporary directory, and a
// test daemon on a real socket.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/file_io.h"
#include "sftp/session.h"
#include "test_broker.h"

namespace sallyport::sftp {

namespace fs = std::filesystem;

inline constexpr std::uint32_t put_flags =
    open_flag::write | open_flag::create | open_flag::truncate;

struct Reply {
  Type type = Type::status;
  Code code = Code::ok;
  std::string text;  ///< handle, data or message
  Attributes attributes;
  std::vector<std::string> names;
};

class SessionTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "sftp_session.XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    test::TestBroker::Settings settings;
    settings.socket = root_ / "broker";
    settings.partner_directory = root_ / "acme";
    settings.policy.shared = true;
    settings.policy.not_ready_patterns = {"*.part", "*.tmp", ".*"};
    broker_.emplace(std::move(settings));
  }
  void TearDown() override {
    session_.reset();
    context_.reset();
    client_.reset();
    broker_.reset();
    fs::remove_all(root_);
  }

  /// Logs in; what the broker's settings say holds from here on.
  void start() {
    if (client_) (void)uploads();
    session_.reset();
    context_.reset();
    client_.emplace(broker_->settings.socket);
    LoginQuery query;
    query.user = "acme";
    query.key = "key";
    query.signature_verified = true;
    Received received = client_->finish(client_->start(query), std::chrono::seconds(5));
    auto answer = std::get<LoginAnswer>(received.envelope.message);
    ASSERT_EQ(answer.outcome, LoginOutcome::allow);
    context_.emplace(*client_, std::move(received.descriptor), answer);
    session_.emplace(*context_);
    ReplyBuffer init;
    init.begin(Type::init);
    init.put_u32(3);
    init.end();
    feed(init);
    session_->replies().clear();
  }

  /// What the daemon was told to be done, when it has heard all that was sent.
  std::map<std::string, UploadDone> uploads() {
    (void)client_->ask<TakenAnswer>(TakenQuery{"/Incoming/unknown", 0, false, 0},
                                    std::chrono::seconds(10));
    std::map<std::string, UploadDone> done;
    EXPECT_TRUE(broker_->wait_until([&] {
      done = broker_->uploads;
      return true;
    }));
    return done;
  }

  void feed(const ReplyBuffer& bytes) {
    const std::span<const std::uint8_t> all(bytes.data(), bytes.size());
    consumed_ = session_->consume(all);
  }

  template <class Fill>
  Reply ask(Type type, Fill fill) {
    ReplyBuffer request;
    request.begin(type, 99);
    fill(request);
    request.end();
    feed(request);
    return reply();
  }

  Reply reply() {
    Reply result;
    const Frame frame = next_frame({session_->replies().data(), session_->replies().size()});
    EXPECT_EQ(frame.what, Frame::What::packet);
    EXPECT_EQ(frame.consumed, session_->replies().size()) << "one reply for one request";
    PacketReader reader(frame.body);
    EXPECT_EQ(reader.u32(), 99U);
    result.type = frame.type;
    switch (frame.type) {
      case Type::status:
        result.code = static_cast<Code>(reader.u32());
        result.text = reader.string();
        break;
      case Type::handle:
      case Type::data:
        result.text = reader.string();
        break;
      case Type::attrs:
        result.attributes = reader.attributes();
        break;
      case Type::name:
        for (std::uint32_t count = reader.u32(); count > 0; --count) {
          result.names.emplace_back(reader.string());
          (void)reader.string();
          result.attributes = reader.attributes();
        }
        break;
      default:
        break;
    }
    EXPECT_FALSE(reader.bad());
    session_->replies().clear();
    return result;
  }

  Reply open(std::string_view path, std::uint32_t flags) {
    return ask(Type::open, [&](ReplyBuffer& b) {
      b.put_string(path);
      b.put_u32(flags);
      b.put_attributes({});
    });
  }
  Reply by_path(Type type, std::string_view path) {
    return ask(type, [&](ReplyBuffer& b) {
      b.put_string(path);
      if (type == Type::mkdir || type == Type::setstat) b.put_attributes({});
    });
  }
  Reply by_handle(Type type, std::string_view handle) {
    return ask(type, [&](ReplyBuffer& b) { b.put_string(handle); });
  }
  Reply write(std::string_view handle, std::uint64_t offset, std::string_view data) {
    return ask(Type::write, [&](ReplyBuffer& b) {
      b.put_string(handle);
      b.put_u64(offset);
      b.put_string(data);
    });
  }
  Reply read(std::string_view handle, std::uint64_t offset, std::uint32_t count) {
    return ask(Type::read, [&](ReplyBuffer& b) {
      b.put_string(handle);
      b.put_u64(offset);
      b.put_u32(count);
    });
  }
  Reply rename(std::string_view from, std::string_view to) {
    return ask(Type::rename, [&](ReplyBuffer& b) {
      b.put_string(from);
      b.put_string(to);
    });
  }
  Reply posix_rename(std::string_view from, std::string_view to) {
    return ask(Type::extended, [&](ReplyBuffer& b) {
      b.put_string("posix-rename@openssh.com");
      b.put_string(from);
      b.put_string(to);
    });
  }
  Reply set_size(std::string_view path, std::uint64_t size) {
    return ask(Type::setstat, [&](ReplyBuffer& b) {
      Attributes a;
      a.flags = Attributes::has_size;
      a.size = size;
      b.put_string(path);
      b.put_attributes(a);
    });
  }
  Reply set_size_of(std::string_view handle, std::uint64_t size) {
    return ask(Type::fsetstat, [&](ReplyBuffer& b) {
      Attributes a;
      a.flags = Attributes::has_size;
      a.size = size;
      b.put_string(handle);
      b.put_attributes(a);
    });
  }
  Reply put(std::string_view path, std::string_view content) {
    Reply result = open(path, put_flags);
    if (result.type != Type::handle) return result;
    const std::string handle = result.text;
    if (!content.empty()) {
      result = write(handle, 0, content);
      if (result.code != Code::ok) return result;
    }
    return by_handle(Type::close, handle);
  }

  std::vector<std::string> list(std::string_view path) {
    std::vector<std::string> names;
    const Reply opened = by_path(Type::opendir, path);
    EXPECT_EQ(opened.type, Type::handle) << path;
    while (true) {
      Reply some = by_handle(Type::readdir, opened.text);
      if (some.type != Type::name) break;
      for (std::string& name : some.names) {
        if (name != "." && name != "..") names.push_back(std::move(name));
      }
    }
    (void)by_handle(Type::close, opened.text);
    return names;
  }

  std::vector<std::string> files(const std::string& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_ / "acme" / folder))
      names.push_back(entry.path().filename());
    return names;
  }
  std::string content(const std::string& file) { return base::read_file(root_ / "acme" / file); }
  fs::path host(const std::string& path) { return root_ / "acme" / path; }

  fs::path root_;
  std::optional<test::TestBroker> broker_;
  std::optional<BrokerClient> client_;
  std::optional<SessionContext> context_;
  std::optional<Session> session_;
  std::size_t consumed_ = 0;
};

}  // namespace sallyport::sftp
