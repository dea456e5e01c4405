// Every part of the daemon, in the order in which they need each other: members are made from the
// top to the bottom and end from the bottom to the top.
//
// The constructor makes, start() starts, stop() stops. What cannot work at all throws: ConfigError
// for what has to be mended in the configuration, base::Error else. What may work later (a database
// or a PGP agent that is away) is health, and tried again until it does.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "daemon/activity/activity_log.h"
#include "daemon/activity/chain.h"
#include "daemon/admins/admin_service.h"
#include "daemon/admins/credential_notices.h"
#include "daemon/app/app.h"
#include "daemon/app/deferred_store.h"
#include "daemon/app/test_clock.h"
#include "daemon/files/file_service.h"
#include "daemon/http/access_tokens.h"
#include "daemon/http/router.h"
#include "daemon/http/server.h"
#include "daemon/keys/key_service.h"
#include "daemon/keys/lifecycle_pass.h"
#include "daemon/outbox/outbox.h"
#include "daemon/partners/audit_keeper.h"
#include "daemon/partners/broker_server.h"
#include "daemon/partners/partner_service.h"
#include "daemon/scheduler/leadership.h"
#include "daemon/scheduler/scheduler.h"
#include "daemon/verify/verification.h"
#include "pgp/pgp.h"

namespace sallyport::daemon {

class Parts {
 public:
  Parts(const Launch& launch, Config config);
  ~Parts();  ///< stop()
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  void start();
  void stop();
  /// Reads the configuration again; a wrong one changes nothing and is logged.
  void reload();

  base::SystemClock clock;
  Health health{clock};

 private:
  const Launch launch_;
  LiveConfig config_;
  const std::string node_;
  DeferredStore store_;
  ActivityLog activity_;
  ClockWatch watch_;
  Leadership leadership_;

 public:
  Scheduler scheduler;

 private:
  TestClock test_clock_;
  KeyTemplates templates_;
  Verification verification_;
  KeyService keys_;
  LifecyclePass lifecycle_;
  Outbox outbox_;
  ActivityKeeper activity_keeper_;
  CredentialNotices credentials_;
  AccessTokens access_tokens_;
  AdminService admins_;
  BanList bans_;
  AuditKeeper audit_keeper_;
  // The gateway; empty when it is switched off.
  std::unique_ptr<pgp::Engine> pgp_;
  std::unique_ptr<PartnerService> partners_;
  std::unique_ptr<FileService> files_;
  std::unique_ptr<BrokerServer> broker_;
  Router router_;

 public:
  std::unique_ptr<Server> server;

 private:
  void add_routes();
  void apply_policies();
  void open_store();
  void with_store();
  /// One try of everything that is not there yet; true when all is.
  bool complete();
  void keep_trying();

  bool store_was_open_ = false;
  bool pgp_started_ = false;
  bool directories_made_ = false;
  std::atomic<bool> files_started_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool stopped_ = false;
  std::thread completing_;
};

}  // namespace sallyport::daemon
