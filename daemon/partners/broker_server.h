// The daemon's side of sftp/broker.h: answers the SFTP front about logins, takes its reports of
// uploads and downloads, tells it limits and bans, and ends sessions.
//
// Ownership: what Parts names outlives the server. One thread reads all connections and answers
// what needs no store; logins and uploads are worked on by a few threads, password hashes by two.
// start() throws base::Error (socket in use, no such user); after it nothing does. stop() ends
// every session, writes what is left to write, and returns with every thread joined.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "daemon/config/config.h"
#include "daemon/health.h"
#include "daemon/partners/ban_list.h"
#include "daemon/partners/file_journal.h"
#include "daemon/partners/partner_service.h"
#include "sftp/broker.h"
#include "store/store.h"

namespace sallyport::daemon {

struct BrokerParts {
  store::Store& store;
  const LiveConfig& config;
  const base::Clock& clock;
  Health& health;
  BanList& bans;
  FileJournal& journal;
};

class BrokerServer final : public SessionControl {
 public:
  explicit BrokerServer(const BrokerParts& parts);
  ~BrokerServer() override;

  void start();
  void stop();

  void end_sessions(std::string_view partner, std::string_view fingerprint,
                    const std::string& sentence) override;
  void review_sessions(const std::string& partner) override;
  [[nodiscard]] std::vector<Session> sessions() override;

  /// What the front said about itself last; empty when none is connected.
  struct Front {
    bool connected = false;
    std::vector<std::string> listening;
    std::vector<sftp::HostKeyLine> host_keys;
  };
  [[nodiscard]] Front front();
  /// Sends the limits again: after a reload.
  void send_limits();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sallyport::daemon
