// The option table: one row an option, in the order of the example file and the manual. The default
// is the member's initialiser in config.h; `live` and `each_file` rows take effect on reload, the
// others on restart.
#include "daemon/config/rows.h"

namespace sallyport::daemon {
namespace {

using namespace rows;
using std::chrono::hours;
using std::chrono::minutes;
using Days = std::chrono::duration<std::int64_t, std::ratio<86400>>;
constexpr Seconds second{1};

#define AT SALLYPORT_AT

void general(std::vector<Option>& table) {
  table = {
      text(AT(organization), "name", identifier, restart,
           "The organisation: a part of the addresses of the management API, "
           "/rest/organizations/<organization>/..."),
      text(AT(node), "name", identifier, restart,
           "This machine's name among those that share a store. Empty: its host name."),
      choice(AT(log.level), {"error", "warning", "notice", "info", "debug"}, live,
             "The least severe records that are logged."),
      choice(AT(log.format), {"auto", "human", "journal", "json"}, restart,
             "How records are written. auto: to the journal under systemd, else for people."),

      choice(AT(store.driver), {"sqlite", "mysql"}, restart,
             "sqlite is embedded and needs no server; mysql is for MySQL, MariaDB and Galera."),
      text(AT(store.sqlite_path), "path", absolute_path, restart,
           "The database file. Its directory must be writable."),
      text(AT(store.host), "host", anything, restart,
           "The database server. A host that is not loopback needs store.tls_ca."),
      number(AT(store.port), 1, 65535, restart, "The database server's port."),
      text(AT(store.unix_socket), "path", absolute_path, restart,
           "The database server's unix socket, instead of host and port."),
      text(AT(store.user), "name", anything, restart, "The database user."),
      text(AT(store.password_file), "credential", credential, restart,
           "The file, or the name of the systemd credential, that holds the database password."),
      text(AT(store.database), "name", identifier, restart, "The database."),
      text(AT(store.tls_ca), "path", absolute_path, restart,
           "The authority (PEM) that the database server's certificate is verified with, its name "
           "too."),
      number(AT(store.connections), 1, 64, restart, "The most connections at once."),
      flag(AT(store.shared), restart,
           "Other nodes use the same store: changes of keys are looked for every second, and one "
           "node is elected for the scheduler."),
  };
}

void http(std::vector<Option>& table) {
  const Option rows_of_http[] = {
      text(AT(http.admin_socket), "path", absolute_path, restart,
           "The unix socket of sallyportctl: open to root and to members of http.admin_group."),
      text(AT(http.admin_group), "group", identifier, restart,
           "The group whose members may do everything over the admin socket."),
      text(AT(http.verify_socket), "path", absolute_path, restart,
           "The unix socket on which API gateways on this machine ask about keys."),
      text(AT(http.verify_group), "group", identifier, restart,
           "The group whose members may use the verify socket."),
      text(AT(http.listen), "address:port", listen_address, restart,
           "Where the management API and verification are served over TCP. Empty: nowhere. "
           "Without a certificate only a loopback address is allowed. Port 0: any free port."),
      text(AT(http.certificate_file), "path", absolute_path, live,
           "The certificate chain (PEM) of the TCP listener: TLS 1.2 and 1.3 only."),
      text(AT(http.private_key_file), "credential", credential, live,
           "The certificate's private key (PEM)."),
      text(AT(http.client_ca_file), "path", absolute_path, live,
           "The authority (PEM) of gateways that authenticate by a client certificate."),
      list(AT(http.trusted_proxies), "IP ranges", ip_range, live,
           "Proxies whose X-Forwarded-For is believed and that may ask for verification."),
      text(AT(http.public_url), "URL", http_url, live,
           "Where people reach the management API: the links in notices begin with it."),
      number(AT(http.workers), 1, 64, restart, "Threads that work on management requests."),
      number(AT(http.io_threads), 1, 16, restart,
             "Threads that serve connections and verification."),
      number(AT(http.max_connections), 10, 1000000, restart, "The most connections at once."),
      number(AT(http.max_tls_connections), 10, 1000000, restart,
             "The most TLS connections at once; each costs some 75 KB."),
      duration(AT(http.header_timeout), second, minutes{5}, restart,
               "How long a client may take to send a request."),
      duration(AT(http.idle_timeout), second, hours{1}, restart,
               "How long a connection may be idle."),
      size(AT(http.max_body_bytes), 1024, 64ULL << 20, restart, "The largest request body."),
      duration(AT(verify.max_staleness), second, Days{1}, live,
               "A node that has not heard from a shared store for so long denies everything."),
      duration(AT(verify.usage_flush), second, minutes{1}, live,
               "How often last-used times go to the store."),
  };
  table.insert(table.end(), std::begin(rows_of_http), std::end(rows_of_http));
}

void keys(std::vector<Option>& table) {
  const Seconds month = Days{30};
  const Option rows_of_keys[] = {
      flag(AT(keys.allow_private_ips), live,
           "Accept private, loopback and link-local ranges in the IP lists of keys."),
      list(AT(keys.restricted_domains), "objects", identifier, live,
           "Objects that an INTEGRATION key gets only by listing them."),
      text(AT(keys.templates_file), "path", absolute_path, restart,
           "TOML file of further key templates; it may replace built-in ones."),
      period(AT(keys.inactivity), live, "A key that is unused for so long is disabled."),
      offsets(AT(keys.inactivity_warnings), Days{365}, live,
              "How long before that it is announced."),
      offsets(AT(keys.expiry_warnings), Days{365}, live,
              "How long before its expiry a key's end is announced."),
      offsets(AT(keys.exposure_warnings), month, live,
              "How long before its deactivation an exposed key's end is announced."),
      duration(AT(keys.exposure_critical), Seconds{0}, month, live,
               "Time until a key exposed with severity CRITICAL is deactivated: 0 or 2d to 30d."),
      duration(AT(keys.exposure_high), Seconds{0}, month, live, "The same for HIGH."),
      duration(AT(keys.exposure_medium), Seconds{0}, month, live, "The same for MEDIUM."),
      duration(AT(keys.exposure_low), Seconds{0}, month, live, "The same for LOW."),
      duration(AT(keys.exposure_warn), Seconds{0}, month, live, "The same for WARN."),
      duration(AT(keys.max_overlap), Seconds{0}, month, live,
               "The longest time for which a regenerated key's old value may stay valid."),
      choice(AT(keys.github_severity), {"CRITICAL", "HIGH", "MEDIUM", "LOW", "WARN"}, live,
             "The severity of exposures that GitHub reports."),
      text(
          AT(keys.github_keys_file), "path", absolute_path, live,
          "The pinned public keys (JSON) that sign GitHub's reports. Empty: no reports are taken."),
  };
  table.insert(table.end(), std::begin(rows_of_keys), std::end(rows_of_keys));
}

void notices(std::vector<Option>& table) {
  const Option rows_of_notices[] = {
      text(AT(notify.from), "mail address", mail_address, live, "The sender of notices."),
      text(AT(notify.from_name), "text", not_empty, live, "The sender's name."),
      text(AT(notify.security_contact), "mail address", mail_address, live,
           "Gets every notice about exposed keys, besides the administrators."),
      text(AT(notify.fallback), "mail address", mail_address, live,
           "Gets notices while there is no active administrator."),
      duration(AT(notify.retry_first), second, hours{1}, live,
               "The pause before a failed notice is tried again; it doubles each time."),
      duration(AT(notify.retry_most), second, Days{1}, live, "The longest such pause."),
      duration(AT(notify.give_up), hours{1}, Days{30}, live,
               "After so long a notice is marked failed. It is kept and can be requeued."),
      flag(AT(notify.digest), live, "Put the notices to one recipient into one mail."),
      duration(AT(notify.digest_wait), minutes{1}, Days{1}, live,
               "How long a digest gathers notices."),
      entries(AT(notify.webhooks),
              {{"name", Column::text, true},
               {"url", Column::text, true},
               {"secret_file", Column::text, true},
               {"kinds", Column::list, false}},
              live,
              "Called for every notice, as a CloudEvent signed per Standard Webhooks: name, url, "
              "secret_file (a credential that holds whsec_...), kinds (empty: all)."),
      text(AT(smtp.host), "host", not_empty, live, "The mail server."),
      number(AT(smtp.port), 1, 65535, live, "Its port: 25, 587 (starttls) or 465 (tls)."),
      choice(AT(smtp.security), {"none", "starttls", "tls"}, live,
             "How the connection is protected. With starttls and tls the server's certificate and "
             "name are verified; a server that cannot do it is refused."),
      text(AT(smtp.user), "name", anything, live, "The user to log in as. Empty: no login."),
      text(AT(smtp.password_file), "credential", credential, live,
           "The file, or the name of the systemd credential, that holds the mail password."),
      text(AT(smtp.ca_file), "path", absolute_path, live,
           "The authority (PEM) of the server's certificate. Empty: the system's."),
      text(AT(smtp.helo), "host", anything, live, "What we say who we are. Empty: the host name."),
      duration(AT(smtp.timeout), second, minutes{10}, live,
               "How long the server may take to answer."),
      text(AT(activity.credential_file), "credential", credential, restart,
           "The key (file or systemd credential) that authenticates the activity log's "
           "checkpoints. It must not be where the store is. Empty: one is made beside the state."),
      duration(AT(activity.checkpoint_every), minutes{1}, Days{1}, live,
               "How often the head of the activity log is authenticated."),
      duration(AT(activity.keep), Days{1}, Days{36500}, live, "How long the activity log is kept."),
      choice(AT(clock.on_jump), {"wait", "continue"}, live,
             "What happens to final transitions when the wall clock steps by more than clock.jump "
             "against the machine's own: wait until it is synchronised or 'sallyportctl clock "
             "confirm', or continue."),
      duration(AT(clock.jump), minutes{1}, Days{1}, live, "What counts as a step."),
  };
  table.insert(table.end(), std::begin(rows_of_notices), std::end(rows_of_notices));
}

void gateway(std::vector<Option>& table) {
  const Option rows_of_gateway[] = {
      flag(AT(gateway.enabled), restart, "Serve the SFTP front and run the file pipeline."),
      text(AT(gateway.broker_socket), "path", absolute_path, restart,
           "The unix socket on which sallyport-sftp asks about logins and reports uploads."),
      text(AT(gateway.front_user), "user", identifier, restart,
           "The user that sallyport-sftp runs as; nobody else may use the broker socket."),
      text(AT(gateway.group), "group", identifier, restart,
           "The group of the partners' directories, shared with sallyport-sftp."),
      text(AT(gateway.partners_root), "path", absolute_path, restart,
           "The directory of the partners' directories."),
      text(AT(gateway.public_host), "host", anything, live,
           "The name under which partners reach the SFTP server, for their sheet. Empty: the host "
           "name."),
      number(AT(gateway.public_port), 1, 65535, live, "The port that partners use."),
      list(AT(gateway.public_addresses), "IP ranges", ip_range, live,
           "What partners have to allow in their firewall, for their sheet."),
      duration(AT(gateway.login_grace), second, minutes{10}, live,
               "How long a client may take to log in."),
      number(AT(gateway.max_attempts), 1, 100, live, "Login attempts a connection."),
      number(AT(gateway.max_connections), 1, 100000, live, "SFTP connections at once."),
      number(AT(gateway.max_unauthenticated_per_address), 1, 100000, live,
             "Connections of one address (IPv6: its /64) that have not logged in."),
      number(AT(gateway.max_unfinished), 10, 1000000, live,
             "Connections of one address (IPv6: its /64) that may end without a login within a "
             "minute; more ban it for gateway.ban_time."),
      duration(AT(gateway.drain), Seconds{0}, minutes{10}, live,
               "How long sessions may go on when sallyport-sftp is stopped."),
      text(AT(gateway.login_banner), "text", anything, live, "Shown to clients before login."),
      number(AT(gateway.ban_failures), 2, 1000, live,
             "So many failed logins of one address within gateway.ban_window ban it. They are "
             "slowed down from the third on."),
      duration(AT(gateway.ban_window), second, Days{7}, live, "See gateway.ban_failures."),
      duration(AT(gateway.ban_time), second, Days{365}, live, "How long a ban lasts."),
      list(AT(gateway.never_ban), "IP ranges", ip_range, live,
           "Addresses that are never slowed down or banned."),
      duration(AT(gateway.audit_keep), Days{1}, Days{36500}, live,
               "How long the audit of sessions is kept ('sallyportctl audit'): logins, refusals, "
               "transfers."),
      duration(AT(gateway.taken_memory), Seconds{0}, minutes{10}, live,
               "How long a file that was taken is still shown to clients that ask for it."),
      number(AT(gateway.min_password), 12, 128, live, "The shortest password of a partner."),
  };
  table.insert(table.end(), std::begin(rows_of_gateway), std::end(rows_of_gateway));
}

// A session's sandbox lets it have 1024 descriptors, and some are for its sockets, for the folders
// on the way to a file, and for files that are being closed.
constexpr std::int64_t most_handles = 900;

// The policies: each can be set for single partners, those of `each_file` for an object of theirs.
void partner(std::vector<Option>& table) {
  const Option rows_of_partner[] = {
      list(AT(partner.objects), "names", object_name, live,
           "The folders below /Incoming, /Outgoing and /Archive."),
      flag(AT(partner.subfolders), live, "Partners may make folders below /Incoming/<Object>."),
      flag(AT(partner.shared), live,
           "Partners have /Shared, where they read and write freely; files there go nowhere."),
      text(AT(partner.start_directory), "path", virtual_directory, live,
           "The folder that a login starts in."),
      choice(AT(partner.trigger), {"close", "rename", "marker"}, live,
             "When an upload is taken: when the client closes it, when it is renamed, or when "
             "NAME.done appears beside it."),
      list(AT(partner.not_ready), "name patterns", name_pattern, live,
           "Names that say 'not ready': such files wait until they are renamed."),
      duration(AT(partner.waiting_lifetime), hours{1}, Days{365}, each_file,
               "After so long a broken or waiting upload moves to /Archive/Failed."),
      choice(AT(partner.encryption), {"required", "optional", "forbidden"}, each_file,
             "Whether files from the partner must be encrypted."),
      choice(AT(partner.signature), {"auto", "required", "optional"}, each_file,
             "Whether files from the partner must be signed by a key of theirs. auto: if they have "
             "a PGP key that can sign."),
      flag(AT(partner.detached_signatures), each_file, "NAME and NAME.sig are taken together."),
      duration(AT(partner.detached_wait), second, Days{1}, each_file,
               "How long one of the two waits for the other."),
      size(AT(partner.output_limit_bytes), 1024, 1ULL << 44, each_file,
           "The largest decrypted file. Also limited to partner.output_ratio times its input or "
           "partner.output_floor_bytes, whichever is more."),
      number(AT(partner.output_ratio), 1, 100000, each_file, "See partner.output_limit_bytes."),
      size(AT(partner.output_floor_bytes), 1024, 1ULL << 40, each_file,
           "See partner.output_limit_bytes."),
      flag(AT(partner.outbound_encrypt), each_file,
           "Files to the partner are encrypted to their key."),
      flag(AT(partner.outbound_sign), each_file, "Files to the partner are signed with our key."),
      flag(AT(partner.outbound_armour), each_file, "Files to the partner are ASCII-armoured."),
      flag(AT(partner.receipts), each_file,
           "A signed receipt for each file appears in /Outgoing/Receipts."),
      offsets(AT(partner.collect_reminders), Days{365}, each_file,
              "How long after a file was made available its not being collected is announced.",
              false),
      duration(AT(partner.collect_until), Days{1}, Days{3650}, each_file,
               "After so long an uncollected file moves to the backup."),
      duration(AT(partner.archive_keep), hours{1}, Days{3650}, each_file,
               "How long files stay in /Archive before they move to the backup."),
      size(AT(partner.quota_bytes), 0, no_limit, live,
           "The most bytes in a partner's folders. \"unlimited\": no limit."),
      size(AT(partner.quota_files), 0, no_limit, live, "The most files in a partner's folders."),
      size(AT(partner.max_file_bytes), 0, no_limit, live, "The largest file."),
      size(AT(partner.bytes_per_second), 1024, no_limit, live,
           "The bandwidth of one session, both directions together."),
      number(AT(partner.connections), 1, 10000, live, "Connections at once."),
      number(AT(partner.handles), 1, most_handles, live, "Open files and folders a session."),
      number(AT(partner.channels), 1, 100, live, "Channels a connection."),
      duration(AT(partner.idle), second, Days{1}, live,
               "A session that does nothing for so long is ended."),
  };
  table.insert(table.end(), std::begin(rows_of_partner), std::end(rows_of_partner));
}

void pipeline(std::vector<Option>& table) {
  const Option rows_of_pipeline[] = {
      text(AT(pgp.home), "path", absolute_path, restart,
           "GNUPGHOME with our secret keys and the partners' public ones. Keep it short: sockets "
           "live below it."),
      text(AT(pgp.limiter), "path", absolute_path, restart,
           "The program that limits gpg. Empty: the installed one."),
      number(AT(pgp.agents), 1, 16, restart,
             "gpg-agents at once: the private-key work of one is done on one core."),
      duration(AT(pgp.cpu_limit), second, Days{1}, restart, "CPU time of one gpg process."),
      size(AT(pgp.memory_limit_bytes), 64ULL << 20, 1ULL << 40, restart,
           "Memory of one gpg process."),
      text(AT(files.inbound), "path", absolute_path, restart,
           "Where decrypted files are delivered: <partner>/<object>/<name> below it."),
      text(AT(files.outbound), "path", absolute_path, restart,
           "Where applications put files for partners: <partner>/<object>/<name> below it."),
      text(AT(files.state), "path", absolute_path, restart,
           "The file pipeline's own working directory."),
      number(AT(files.workers), 0, 256, restart,
             "Files worked on at once. 0: one more than cores."),
      duration(AT(files.sweep), second, hours{1}, live, "How often the safety net is drawn in."),
      duration(AT(files.retry_hold), second, hours{1}, live,
               "How long a file that is being retried keeps later ones waiting."),
      list(AT(files.hook), "words", anything, live,
           "Program and arguments that run after a delivery, without a shell; the facts are in "
           "its environment. Empty: none. For a daemon that may become files.hook_user; one under "
           "systemd takes files.hook_socket."),
      text(AT(files.hook_socket), "path", absolute_path, live,
           "The socket of sallyport-hook, which runs the program that /etc/sallyport/hook.conf "
           "names as a user of its own: /run/sallyport-hook.sock. Instead of files.hook."),
      text(AT(files.hook_user), "user", identifier, restart, "The user that files.hook runs as."),
      duration(AT(files.hook_timeout), second, hours{1}, live, "After so long a hook is killed."),
      text(AT(files.webhook_url), "URL", http_url, live,
           "Called after each delivery, as a CloudEvent signed per Standard Webhooks."),
      text(AT(files.webhook_secret_file), "credential", credential, live,
           "The secret (whsec_...) that signs it."),
      entries(AT(files.expectations),
              {{"partner", Column::text, true},
               {"object", Column::text, false},
               {"days", Column::text, true},
               {"by", Column::text, true},
               {"min_files", Column::number, false},
               {"max_files", Column::number, false},
               {"min_bytes", Column::number, false}},
              live,
              "Files that are expected: partner, object, days (weekdays, daily, or names such as "
              "\"mon,thu\"), by (HH:MM UTC), min_files (1), max_files, min_bytes."),
      choice(AT(backup.target), {"directory", "s3"}, restart,
             "Where archived files go after partner.archive_keep."),
      text(AT(backup.directory), "path", absolute_path, restart, "The directory."),
      text(AT(backup.encrypt_to), "fingerprint", anything, live,
           "A PGP key of ours that files are encrypted to if they are not encrypted."),
      text(AT(backup.s3_endpoint), "URL", http_url, restart, "The object store."),
      text(AT(backup.s3_bucket), "name", identifier, restart, "The bucket."),
      text(AT(backup.s3_prefix), "text", anything, restart, "What object names begin with."),
      text(AT(backup.s3_region), "name", identifier, restart, "The region."),
      text(AT(backup.s3_credentials_file), "credential", credential, restart,
           "Two lines: access key id, secret access key."),
      flag(AT(backup.s3_path_style), restart,
           "Address the bucket in the path instead of the host name."),
      text(AT(backup.s3_ca_file), "path", absolute_path, restart,
           "The authority (PEM) of the object store. Empty: the system's."),
  };
  table.insert(table.end(), std::begin(rows_of_pipeline), std::end(rows_of_pipeline));
}

#undef AT

}  // namespace

const std::vector<Option>& option_table() {
  static const std::vector<Option> table = [] {
    std::vector<Option> all;
    general(all);
    http(all);
    keys(all);
    notices(all);
    gateway(all);
    partner(all);
    pipeline(all);
    return all;
  }();
  return table;
}

}  // namespace sallyport::daemon
