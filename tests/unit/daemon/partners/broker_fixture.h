// A broker server over its real socket, with a real store, and the sessions that talk to it.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "daemon/http/router.h"
#include "daemon/partners/broker_server.h"
#include "daemon/partners/partner_service.h"
#include "sftp/broker.h"
#include "store/files.h"
#include "store/store.h"

namespace sallyport::daemon::test {

using namespace std::chrono_literals;
inline constexpr auto patience = 20s;

inline std::string ed25519_blob(char fill) {
  return std::string("\0\0\0\x0bssh-ed25519\0\0\0\x20", 19) + std::string(32, fill);
}

class RecordingJournal final : public FileJournal {
 public:
  void session_began(const SessionPeer& peer, const std::string& session_id) override {
    const std::lock_guard lock(mutex);
    began.push_back(peer.partner + " " + session_id);
  }
  void uploaded(const SessionPeer& peer, const std::string& session_id,
                const Uploaded& upload) override {
    if (fail) throw base::Error("unknown session");
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return !holds_up; });
    uploads.push_back({peer.partner, session_id, upload});
  }
  void session_ended(const std::string& session_id, bool cut_off) override {
    const std::lock_guard lock(mutex);
    ended.push_back((cut_off ? "cut off " : "") + session_id);
    changed.notify_all();
  }
  void downloaded(const SessionPeer&, const std::string& path, std::uint64_t, bool) override {
    const std::lock_guard lock(mutex);
    downloads.push_back(path);
  }
  void left_waiting(const SessionPeer&, const std::string& path, bool partial) override {
    const std::lock_guard lock(mutex);
    waiting.push_back((partial ? "partial " : "waiting ") + path);
    changed.notify_all();
  }
  void deleted(const SessionPeer&, const std::string& path) override {
    const std::lock_guard lock(mutex);
    deletions.push_back(path);
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<bool> fail{false};
  bool holds_up = false;  ///< under the mutex: uploaded() waits, and who called it
  struct Told {
    std::string partner;
    std::string session_id;
    Uploaded upload;
  };
  std::vector<Told> uploads;
  std::vector<std::string> began, ended, downloads, deletions, waiting;
};

/// As a session does whose answer is on its way.
inline void report_now(sftp::BrokerClient& client, const sftp::FileEvent& event) {
  client.report(event);
  client.send_reports();
}

class BrokerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("broker-" + base::random_id());
    std::filesystem::create_directories(directory_);
    Config config;
    config.gateway.broker_socket = directory_ / "broker.sock";
    config.gateway.partners_root = directory_ / "partners";
    config.gateway.front_user.clear();
    config.gateway.group.clear();
    config.gateway.never_ban.clear();
    config.gateway.ban_failures = 4;
    config.partner.connections = 2;
    config.partner.quota_bytes = 1000;
    config_ = std::make_unique<LiveConfig>(config);
    store::Options options;
    options.sqlite_path = directory_ / "test.db";
    store_ = store::open_store(std::move(options));
    partners_ = std::make_unique<PartnerService>(
        PartnerServiceParts{*store_, *config_, clock_, activity_, waker_, nullptr});
    bans_ = std::make_unique<BanList>(*store_, *config_, clock_);
    start_server();
    caller_.kind = CallerKind::local;
    partners_->create(caller_, "acme", {});
    const std::string line = "ssh-ed25519 " + base::to_base64(key_) + " test";
    partners_->add_ssh_key(caller_, "acme", line, "", std::nullopt);
  }
  void TearDown() override {
    server_.reset();
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  void start_server() {
    server_ = std::make_unique<BrokerServer>(
        BrokerParts{*store_, *config_, clock_, health_, *bans_, journal_});
    partners_->set_sessions(*server_);
    server_->start();
  }

  std::unique_ptr<sftp::BrokerClient> session(const std::string& address = "192.0.2.7") {
    auto client = std::make_unique<sftp::BrokerClient>(config_->get()->gateway.broker_socket);
    sftp::SessionHello hello;
    hello.address = address;
    hello.port = 4711;
    hello.client_banner = "SSH-2.0-Test \"x\"\r\nlogin failed from 198.51.100.1";
    client->send(hello);
    return client;
  }
  static sftp::LoginQuery by_key(const std::string& user, const std::string& key,
                                 bool verified = true) {
    sftp::LoginQuery query;
    query.user = user;
    query.key = key;
    query.signature_verified = verified;
    return query;
  }
  static sftp::LoginQuery by_password(const std::string& user, const std::string& password,
                                      const std::string& proven = "") {
    sftp::LoginQuery query;
    query.user = user;
    query.method = sftp::LoginMethod::password;
    query.password = password;
    query.proven_key = proven;
    return query;
  }
  sftp::LoginAnswer login(sftp::BrokerClient& client, const sftp::LoginQuery& query,
                          base::UniqueFd* directory = nullptr) {
    sftp::Received received = client.finish(client.start(query), patience);
    if (directory != nullptr) *directory = std::move(received.descriptor);
    return std::get<sftp::LoginAnswer>(received.envelope.message);
  }
  static sftp::UploadDone upload_of(std::string path, std::uint64_t size) {
    sftp::UploadDone done;
    done.file_id = base::random_id();
    done.path = std::move(path);
    done.size = size;
    done.line = 1;
    done.in_spool = true;
    return done;
  }
  /// Waits until the daemon has worked on all that was sent before.
  static void settled(sftp::BrokerClient& client) {
    (void)client.ask<sftp::UsageAnswer>(sftp::UsageReport{}, patience);
  }
  std::unique_ptr<sftp::BrokerClient> logged_in() {
    auto client = session();
    const sftp::LoginAnswer answer = login(*client, by_key("acme", key_));
    EXPECT_EQ(answer.outcome, sftp::LoginOutcome::allow);
    session_id_ = answer.session_id;
    return client;
  }
  /// The paths of what the daemon has recorded, from the first on, when there are `count`.
  std::vector<std::string> recorded(std::size_t count) {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
      auto events = store_->read([count](store::Unit& unit) {
        return store::list_session_events(unit, {"acme", {}, {}},
                                          static_cast<std::uint32_t>(count + 10));
      });
      if (events.size() >= count || std::chrono::steady_clock::now() >= until) {
        std::vector<std::string> paths;
        for (auto it = events.rbegin(); it != events.rend(); ++it) paths.push_back(it->path);
        return paths;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
  }
  bool ends(sftp::BrokerClient& client) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < until) {
      if (client.ended()) return true;
      pollfd entry{client.fd(), POLLIN, 0};
      ::poll(&entry, 1, 1000);
    }
    return false;
  }

  using Outcome = sftp::LoginOutcome;
  const std::string key_ = ed25519_blob('k');
  std::filesystem::path directory_;
  std::unique_ptr<LiveConfig> config_;
  base::SystemClock clock_;
  Health health_{clock_};
  NoWaker waker_;
  ActivityLog activity_{"test", clock_};
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<PartnerService> partners_;
  std::unique_ptr<BanList> bans_;
  RecordingJournal journal_;
  std::unique_ptr<BrokerServer> server_;
  Caller caller_;
  std::string session_id_;
};

}  // namespace sallyport::daemon::test
