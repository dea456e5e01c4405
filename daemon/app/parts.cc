#include "daemon/app/parts.h"

#include <fmt/format.h>

#include "base/log.h"
#include "daemon/activity/activity_routes.h"
#include "daemon/admins/admin_routes.h"
#include "daemon/app/status_routes.h"
#include "daemon/config/options.h"
#include "daemon/http/github_feed.h"
#include "daemon/http/openapi.h"
#include "daemon/keys/key_routes.h"
#include "daemon/keys/look_ahead_routes.h"
#include "daemon/net/ip.h"
#include "daemon/outbox/notice_routes.h"
#include "daemon/partners/partner_routes.h"
#include "daemon/partners/session_event_routes.h"
#include "daemon/partners/sheet.h"
#include "notify/facts.h"
#include "store/cluster.h"

namespace sallyport::daemon {

base::Severity severity_of(const std::string& name);

namespace {

constexpr std::chrono::seconds first_retry{1};
constexpr std::chrono::seconds longest_retry{30};
constexpr std::chrono::seconds remember_tokens{30};
constexpr std::chrono::seconds remember_tokens_shared{1};

std::string clock_setting(const std::string& node) {
  return "clock.untrusted." + node;
}

VerificationOptions verification_options(const Config& config, const std::string& node) {
  VerificationOptions options;
  options.io_threads = config.http.io_threads;
  options.usage_flush = config.verify.usage_flush;
  options.max_staleness = config.verify.max_staleness;
  if (config.store.shared) options.node = node;
  for (const std::string& text : config.http.trusted_proxies) {
    if (const auto range = IpRange::from(text)) options.trusted_proxies.push_back(*range);
  }
  options.rules.restricted_domains = config.keys.restricted_domains;
  return options;
}

TlsFiles tls_files(const Config& config) {
  return {config.http.certificate_file, config.http.private_key_file, config.http.client_ca_file};
}

ServerOptions server_options(const Config& config, bool test_clock) {
  ServerOptions options;
  options.admin_socket = config.http.admin_socket;
  options.admin_group = config.http.admin_group;
  // Without a group nobody but root could; an instance of an ordinary user is its own.
  options.admin_own_user = test_clock || config.http.admin_group.empty();
  options.verify_socket = config.http.verify_socket;
  options.verify_group = config.http.verify_group;
  options.listen = config.http.listen;
  options.tls = tls_files(config);
  options.io_threads = config.http.io_threads;
  options.workers = config.http.workers;
  options.max_connections = config.http.max_connections;
  options.max_tls_connections = config.http.max_tls_connections;
  options.header_timeout = config.http.header_timeout;
  options.idle_timeout = config.http.idle_timeout;
  options.max_body_bytes = config.http.max_body_bytes;
  return options;
}

GitHubFeed github_feed(KeyService& keys, const LiveConfig& config) {
  GitHubFeed feed;
  feed.keys_file = [&config] { return config.get()->keys.github_keys_file; };
  feed.report = [&keys, &config](const Caller& caller, const GitHubMatch& match) {
    lifecycle::ExposureReport report;
    report.severity = lifecycle::parse_severity(config.get()->keys.github_severity)
                          .value_or(store::Severity::high);
    report.source = store::ExposureSource::github;
    report.reason = "Found by GitHub's secret scanning";
    if (!match.found_in.empty()) report.reason += " in: " + match.found_in;
    report.url = match.url;
    report.automated = true;
    return keys.report_exposed_value(caller, match.value, std::move(report)).has_value();
  };
  return feed;
}

std::unique_ptr<pgp::Engine> make_pgp(const Config& config) {
  if (!config.gateway.enabled) return nullptr;
  pgp::EngineOptions options;
  options.home = config.pgp.home;
  options.limiter = config.pgp.limiter;
  options.agents = config.pgp.agents;
  options.cpu_limit = config.pgp.cpu_limit;
  options.memory_limit_bytes = config.pgp.memory_limit_bytes;
  return std::make_unique<pgp::Engine>(options);
}

}  // namespace

Parts::Parts(const Launch& launch, Config config)
    : launch_(launch),
      config_(std::move(config)),
      node_(node_name(*config_.get())),
      store_(*config_.get(), health),
      activity_(node_, clock),
      watch_(clock, health, machine_clock_is_synchronised),
      leadership_(store_, clock, node_, config_.get()->store.shared),
      scheduler(clock, health, watch_, [this] { return leadership_.leading(); }),
      test_clock_(clock, watch_, store_),
      templates_(load_templates(config_.get()->keys.templates_file)),
      verification_(verification_options(*config_.get(), node_), store_, clock, scheduler, health),
      keys_({store_, config_, clock, templates_, activity_, health, scheduler, verification_.keys(),
             watch_}),
      lifecycle_(keys_,
                 [this] {
                   const base::Instant now = clock.now();
                   verification_.usage().flush();
                   return now;
                 }),
      outbox_(store_, config_, clock, health, activity_),
      activity_keeper_(store_, config_, node_, health),
      credentials_(store_, config_, clock, health, scheduler),
      access_tokens_(store_, clock,
                     config_.get()->store.shared ? remember_tokens_shared : remember_tokens),
      admins_({store_, config_, clock, activity_, scheduler, {&access_tokens_, &verification_}}),
      bans_(store_, config_, clock),
      audit_keeper_(store_, config_),
      pgp_(make_pgp(*config_.get())),
      partners_(std::make_unique<PartnerService>(
          PartnerServiceParts{store_, config_, clock, activity_, scheduler, pgp_.get()})),
      router_(config_.get()->organization) {
  const auto now = config_.get();
  if (now->gateway.enabled) {
    files_ = std::make_unique<FileService>(
        FileContext{store_, clock, config_, *pgp_, health, scheduler, activity_});
    broker_ = std::make_unique<BrokerServer>(
        BrokerParts{store_, config_, clock, health, bans_, files_->journal()});
    partners_->set_sessions(*broker_);
    partners_->set_observer([this] {
      if (files_started_) files_->partners_changed();
    });
  }
  add_routes();
  server = std::make_unique<Server>(server_options(*now, launch_.test_clock), router_,
                                    verification_.handler(), clock);

  // A key that waits for an accepted warning need not wait until it looks for itself.
  outbox_.on_sent([this](const store::Notice& notice) {
    if (notice.kind == notify::to_string(notify::Kind::key_inactive)) {
      keys_.warning_accepted(notice.subject_id);
    }
  });
  scheduler.add(lifecycle_);
  scheduler.add(outbox_);
  scheduler.add(activity_keeper_);
  scheduler.add(credentials_);
  scheduler.add(audit_keeper_);
  scheduler.add(verification_.usage());
  if (files_) {
    for (DueWork* work : files_->due_work()) scheduler.add(*work);
  }
  apply_policies();
}

Parts::~Parts() {
  stop();
}

void Parts::add_routes() {
  router_.authenticate_with(
      [this](const Request& request) { return access_tokens_.authenticate(request); });
  StatusParts status{store_,        config_,     clock,
                     node_,         health,      scheduler,
                     watch_,        leadership_, launch_.test_clock ? &test_clock_ : nullptr,
                     broker_.get(), {},          {}};
  status.key_values = [this] { return verification_.values(); };
  status.connections = [this] { return server->connections(); };
  add_status_routes(router_, status);
  add_session_event_routes(router_, store_);
  add_key_routes(router_, keys_);
  add_look_ahead_routes(router_, keys_);
  add_activity_routes(router_, store_, config_);
  add_notice_routes(router_, {store_, config_, clock, activity_, scheduler});
  add_admin_routes(router_, admins_);
  add_partner_routes(router_, *partners_);
  add_own_key_routes(router_, *partners_);
  add_ban_routes(router_, bans_, clock);
  add_sheet_route(router_, *partners_, config_, broker_.get());
  if (files_) add_file_routes(router_, *files_);
  add_github_route(router_, github_feed(keys_, config_));
  add_openapi_route(router_, SALLYPORT_VERSION);  // last: it describes all others
}

void Parts::apply_policies() {
  const auto config = config_.get();
  watch_.set_policy({config->clock.on_jump == "wait", config->clock.jump});
}

// A database that will not let us in, or that is not ours, does not mend itself: that ends the
// start. One that does not answer may come.
void Parts::open_store() {
  try {
    store_.open();
  } catch (const store::Error& error) {
    switch (error.kind()) {
      case store::Failure::refused:
      case store::Failure::schema_newer:
        throw ConfigError(error.what());
      case store::Failure::broken:
        throw;
      case store::Failure::unavailable:
      case store::Failure::conflict:
      case store::Failure::full:
      case store::Failure::duplicate:
        break;  // health says so
    }
  } catch (const base::Error& error) {
    throw ConfigError(fmt::format("store.password_file cannot be used: {}", error.what()));
  }
}

// What waits for the store: once, when it answers for the first time.
void Parts::with_store() {
  if (launch_.test_clock) test_clock_.restore();
  const auto untrusted = store_.read(
      [&](store::Unit& unit) { return store::get_setting(unit, clock_setting(node_)); });
  if (untrusted && !untrusted->empty() && !machine_clock_is_synchronised()) {
    watch_.distrust(*untrusted);
  }
  watch_.on_change([this](bool allowed) {
    try {
      store_.write([&](store::Unit& unit) {
        store::put_setting(unit, clock_setting(node_),
                           allowed ? ""
                                   : "The wall clock stepped before the restart: keys are not "
                                     "expired or deactivated until it is synchronised. If it is "
                                     "right, run 'sallyportctl clock confirm'.");
      });
    } catch (const base::Error& error) {
      base::log_warning("clock.setting", {}, "The state of the clock could not be stored: {}",
                        error.what());
    }
    scheduler.wake_all();
  });
  bans_.load();
}

bool Parts::complete() {
  if (!store_.is_open()) store_.open();
  if (!store_was_open_) {
    with_store();
    store_was_open_ = true;
    scheduler.wake_all();
  }
  bool all = true;
  // What one of these lacks keeps neither keys nor the others from working.
  const auto attempt = [&](auto& done, std::string_view condition, const auto& work) {
    if (done) return;
    try {
      work();
      done = true;
      if (!condition.empty()) health.clear(condition);
    } catch (const store::Error&) {
      throw;
    } catch (const base::Error& error) {
      if (!condition.empty()) health.raise(condition, error.what());
      all = false;
    }
  };
  if (pgp_) attempt(pgp_started_, "pgp.unavailable", [this] { pgp_->start(); });
  if (broker_) {
    attempt(directories_made_, "partners.directories",
            [this] { partners_->make_all_directories(); });
  }
  // Says in health by itself what it lacks.
  if (files_) attempt(files_started_, "", [this] { files_->start(); });
  return all;
}

void Parts::keep_trying() {
  auto pause = first_retry;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, pause, [this] { return stopping_; })) {
    lock.unlock();
    bool done = false;
    try {
      done = complete();
    } catch (const base::Error& error) {
      base::log_debug("daemon.waits", {}, "Not yet: {}", error.what());
    }
    lock.lock();
    if (done) return;
    pause = std::min(pause * 2, longest_retry);
  }
}

void Parts::start() {
  open_store();
  bool done = false;
  if (store_.is_open()) {
    try {
      done = complete();
    } catch (const store::Error& error) {
      base::log_warning("daemon.waits", {}, "Not everything has started yet: {}", error.what());
    }
  }
  leadership_.start([this] { scheduler.wake_all(); });
  verification_.start();
  if (broker_) broker_->start();
  server->start();
  scheduler.start();
  credentials_.certificate_changed();
  if (!done) completing_ = std::thread([this] { keep_trying(); });
}

void Parts::stop() {
  if (std::exchange(stopped_, true)) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (completing_.joinable()) completing_.join();
  if (server) server->stop();
  if (broker_) broker_->stop();
  outbox_.stop();
  scheduler.stop();
  if (files_ && files_started_) files_->stop();
  verification_.stop();
  leadership_.stop();
  if (pgp_) pgp_->stop();
}

void Parts::reload() {
  const auto now = config_.get();
  try {
    std::vector<std::string> need_restart;
    Config next = reloaded(*now, load_config(launch_.config_file), need_restart);
    config_.set(std::make_shared<const Config>(std::move(next)));
    health.set("config.restart_needed", !need_restart.empty(),
               fmt::format("These options changed and take effect with a restart only: {}",
                           fmt::join(need_restart, ", ")));
    health.clear("config.wrong");
  } catch (const base::Error& error) {
    health.raise("config.wrong",
                 fmt::format("The new configuration is wrong and the old one stays in force: {}",
                             error.what()));
    return;
  }
  const auto config = config_.get();
  base::set_log_level(severity_of(config->log.level));
  apply_policies();
  verification_.use(verification_options(*config, node_));
  try {
    server->reload_certificates(tls_files(*config));
    health.clear("http.certificate_reload");
  } catch (const base::Error& error) {
    health.raise("http.certificate_reload", error.what());
  }
  credentials_.certificate_changed();
  if (broker_) {
    broker_->send_limits();
    try {
      partners_->make_all_directories();
      if (files_started_) files_->partners_changed();
    } catch (const base::Error& error) {
      base::log_error("daemon.reload", {}, "Partners' directories were not all made: {}",
                      error.what());
    }
  }
  scheduler.wake_all();
  base::log_notice("daemon.reloaded", {}, "The configuration was read again");
}

}  // namespace sallyport::daemon
