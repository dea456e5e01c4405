// The typed configuration: what the rows of the option table (daemon/config/option_table.cc) write.
// The initialisers here are the defaults. Plain values, copied freely; no secret is in it, only the
// names of the files that hold one (read with base::read_secret when needed).
//
// A NEW OPTION is two lines: a member here (its initialiser is the default) and a row with its
// bounds and help in option_table.cc. Parsing, --check-config, the example file, the manual page,
// reload and the partners' overrides follow from the row.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "base/instant.h"

namespace sallyport::daemon {

using base::Period;
using base::Seconds;

inline constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

/// One entry of an array of tables, such as [[notify.webhooks]]. The table row names the columns.
struct TableEntry {
  using Value = std::variant<bool, std::int64_t, std::string, std::vector<std::string>>;
  std::map<std::string, Value> values;
  std::string position;  ///< "file:line", for messages

  [[nodiscard]] bool has(const std::string& column) const { return values.count(column) != 0; }
  [[nodiscard]] std::string text(const std::string& column, std::string otherwise = "") const;
  [[nodiscard]] std::int64_t number(const std::string& column, std::int64_t otherwise = 0) const;
  [[nodiscard]] bool flag(const std::string& column, bool otherwise = false) const;
  [[nodiscard]] std::vector<std::string> list(const std::string& column) const;
};

/// What can be set for all partners ([partner]), per partner, and per partner and object.
struct PartnerPolicy {
  std::vector<std::string> objects = {"Users",     "Suppliers", "Invoices",      "PurchaseOrders",
                                      "Contracts", "Payments",  "ExchangeRates", "Receipts"};
  bool subfolders = false;
  bool shared = false;
  std::string start_directory = "/";
  std::string trigger = "close";  ///< close | rename | marker
  std::vector<std::string> not_ready = {"*.part", "*.filepart",  "*.partial",
                                        "*.tmp",  "*.uploading", ".*"};
  Seconds waiting_lifetime{48 * 3600};  ///< partials and not-ready files

  std::string encryption = "optional";  ///< required | optional | forbidden
  std::string signature = "auto";  ///< required | optional | auto = required with a signing key
  bool detached_signatures = false;
  Seconds detached_wait{600};
  std::uint64_t output_limit_bytes = 10ULL << 30;
  std::uint64_t output_ratio = 100;
  std::uint64_t output_floor_bytes = 64ULL << 20;

  bool outbound_encrypt = true;
  bool outbound_sign = true;
  bool outbound_armour = false;
  bool receipts = false;
  std::vector<Seconds> collect_reminders = {Seconds{3 * 86400}, Seconds{7 * 86400}};
  Seconds collect_until{14 * 86400};
  Seconds archive_keep{14 * 86400};

  std::uint64_t quota_bytes = no_limit;
  std::uint64_t quota_files = no_limit;
  std::uint64_t max_file_bytes = no_limit;
  std::uint64_t bytes_per_second = no_limit;
  std::uint32_t connections = 10;
  std::uint32_t handles = 100;
  std::uint32_t channels = 10;
  Seconds idle{1800};
};

struct Config {
  std::string organization = "example";
  /// This machine's name among nodes that share a store; empty: its host name.
  std::string node;

  struct Log {
    std::string level = "info";
    std::string format = "auto";
  } log;

  struct Store {
    std::string driver = "sqlite";
    std::string sqlite_path = "/var/lib/sallyport/sallyport.db";
    std::string host = "localhost";
    std::uint16_t port = 3306;
    std::string unix_socket;
    std::string user = "sallyport";
    std::string password_file;
    std::string database = "sallyport";
    std::string tls_ca;
    unsigned connections = 8;
    bool shared = false;  ///< other nodes use it too
  } store;

  struct Http {
    std::string admin_socket = "/run/sallyport/admin.sock";
    std::string admin_group = "sallyport-admin";
    std::string verify_socket = "/run/sallyport/verify.sock";
    std::string verify_group = "sallyport-verify";
    std::string listen = "127.0.0.1:8480";  ///< empty: no TCP
    std::string certificate_file;
    std::string private_key_file;
    std::string client_ca_file;
    std::vector<std::string> trusted_proxies;
    std::string public_url;  ///< for links in notices
    unsigned workers = 4;
    unsigned io_threads = 2;
    unsigned max_connections = 10000;
    unsigned max_tls_connections = 2000;
    Seconds header_timeout{10};
    Seconds idle_timeout{120};
    std::uint64_t max_body_bytes = 1 << 20;
  } http;

  struct Verify {
    Seconds max_staleness{15 * 60};
    Seconds usage_flush{10};
  } verify;

  struct Keys {
    bool allow_private_ips = false;
    std::vector<std::string> restricted_domains = {"SIM", "SUPPLIER_RISK"};
    std::string templates_file;
    Period inactivity{1, 0, 0, 0};
    std::vector<Seconds> inactivity_warnings = {Seconds{30 * 86400}, Seconds{15 * 86400},
                                                Seconds{86400}};
    std::vector<Seconds> expiry_warnings = {Seconds{7 * 86400}, Seconds{2 * 86400}};
    std::vector<Seconds> exposure_warnings = {Seconds{3 * 86400}, Seconds{86400}};
    Seconds exposure_critical{0};
    Seconds exposure_high{2 * 86400};
    Seconds exposure_medium{7 * 86400};
    Seconds exposure_low{14 * 86400};
    Seconds exposure_warn{30 * 86400};
    Seconds max_overlap{30 * 86400};
    std::string github_severity = "HIGH";
    std::string github_keys_file;
  } keys;

  struct Notify {
    std::string from = "sallyport@localhost";
    std::string from_name = "Sallyport";
    std::string security_contact;
    std::string fallback;
    Seconds retry_first{60};
    Seconds retry_most{3600};
    Seconds give_up{5 * 86400};
    bool digest = false;
    Seconds digest_wait{600};
    std::vector<TableEntry> webhooks;  ///< [[notify.webhooks]]
  } notify;

  struct Smtp {
    std::string host = "localhost";
    std::uint16_t port = 25;
    std::string security = "starttls";  ///< none | starttls | tls
    std::string user;
    std::string password_file;
    std::string ca_file;
    std::string helo;
    Seconds timeout{30};
  } smtp;

  struct Activity {
    std::string credential_file;
    Seconds checkpoint_every{3600};
    Seconds keep{400 * 86400};
  } activity;

  struct ClockPolicy {
    std::string on_jump = "wait";  ///< wait | continue
    Seconds jump{3600};
  } clock;

  struct Gateway {
    bool enabled = true;
    std::string broker_socket = "/run/sallyport/broker.sock";
    std::string front_user = "sallyport-sftp";
    std::string group = "sallyport";  ///< shared by the daemon and the front
    std::string partners_root = "/srv/sallyport/partners";
    std::string public_host;
    std::uint16_t public_port = 22;
    std::vector<std::string> public_addresses;
    Seconds login_grace{30};
    std::uint32_t max_attempts = 6;
    std::uint32_t max_connections = 1000;
    std::uint32_t max_unauthenticated_per_address = 100;
    std::uint32_t max_unfinished = 600;
    Seconds drain{30};
    std::string login_banner;
    std::uint32_t ban_failures = 10;
    Seconds ban_window{600};
    Seconds ban_time{1800};
    std::vector<std::string> never_ban = {"127.0.0.0/8", "::1/128"};
    Seconds audit_keep{400 * 86400};
    Seconds taken_memory{60};
    std::uint32_t min_password = 12;
  } gateway;

  PartnerPolicy partner;

  struct Pgp {
    std::string home = "/var/lib/sallyport/gnupg";
    std::string limiter;  ///< empty: the installed one
    unsigned agents = 2;
    Seconds cpu_limit{600};
    std::uint64_t memory_limit_bytes = 1ULL << 30;
  } pgp;

  struct Files {
    std::string inbound = "/srv/sallyport/inbound";
    std::string outbound = "/srv/sallyport/outbound";
    std::string state = "/var/lib/sallyport/files";
    unsigned workers = 0;  ///< 0: one more than cores
    Seconds sweep{60};
    Seconds retry_hold{15 * 60};
    std::vector<std::string> hook;  ///< argv; empty: none
    std::string hook_socket;        ///< of sallyport-hook, instead of hook; empty: none
    std::string hook_user = "nobody";
    Seconds hook_timeout{60};
    std::string webhook_url;
    std::string webhook_secret_file;
    std::vector<TableEntry> expectations;  ///< [[files.expectations]]
  } files;

  struct Backup {
    std::string target = "directory";  ///< directory | s3
    std::string directory = "/srv/sallyport/backup";
    std::string encrypt_to;
    std::string s3_endpoint;
    std::string s3_bucket;
    std::string s3_prefix;
    std::string s3_region = "us-east-1";
    std::string s3_credentials_file;
    bool s3_path_style = false;
    std::string s3_ca_file;
  } backup;

  /// The file it came from, empty for defaults alone.
  std::string source_file;
};

/// The configuration in force. Parts that obey a reload keep a reference to this and ask get() when
/// they need a value; the others copy what they need when they are made. Thread-safe.
class LiveConfig {
 public:
  explicit LiveConfig(Config config) : config_(std::make_shared<const Config>(std::move(config))) {}

  [[nodiscard]] std::shared_ptr<const Config> get() const {
    const std::lock_guard lock(mutex_);
    return config_;
  }
  void set(std::shared_ptr<const Config> config) {
    const std::lock_guard lock(mutex_);
    config_ = std::move(config);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Config> config_;
};

}  // namespace sallyport::daemon
