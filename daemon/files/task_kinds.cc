// The three kinds of tasks that follow a file: its hook, its webhook and its receipt.
#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/file_io.h"
#include "base/process.h"
#include "base/secret.h"
#include "daemon/files/file_json.h"
#include "daemon/files/file_tasks.h"
#include "daemon/files/names.h"
#include "daemon/files/own_keys.h"
#include "daemon/hook/hook_client.h"
#include "notify/webhook.h"

namespace sallyport::daemon {
namespace {

using store::File;

/// The way to another user: a process of root's becomes it by setpriv; one of that very user stays
/// as it is. Anything else is not allowed by the system.
std::vector<std::string> as_user(const std::string& user, std::vector<std::string> argv) {
  std::array<char, 16384> buffer{};
  struct ::passwd entry {};
  struct ::passwd* found = nullptr;
  if (::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    throw base::Error("There is no user " + user + "; set files.hook_user");
  }
  if (entry.pw_uid == ::geteuid()) return argv;
  if (::geteuid() != 0) {
    throw base::Error(
        "Hooks cannot run as " + user +
        ": the daemon runs as another user and may not change it. Let sallyport-hook run "
        "them: set files.hook_socket instead of files.hook");
  }
  std::vector<std::string> wrapped{"/usr/bin/setpriv",
                                   "--reuid=" + std::to_string(entry.pw_uid),
                                   "--regid=" + std::to_string(entry.pw_gid),
                                   "--clear-groups",
                                   "--no-new-privs",
                                   "--"};
  wrapped.insert(wrapped.end(), argv.begin(), argv.end());
  return wrapped;
}

/// One line of what a program wrote.
std::string first_words(const std::string& text) {
  std::string line = text.substr(0, std::min<std::size_t>(text.find('\n'), 200));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return line;
}

/// The hook as a child of ours: for a daemon that may become files.hook_user.
HookOutcome spawn_hook(const Config& config, const std::vector<std::string>& facts, int cancel) {
  base::ProcessRequest request;
  request.argv = as_user(config.files.hook_user, config.files.hook);
  request.directory = "/";
  request.environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"};
  request.environment.insert(request.environment.end(), facts.begin(), facts.end());
  request.captures = {{1, hook_output_limit}, {2, hook_output_limit}};
  request.deadline = config.files.hook_timeout;
  request.cancel = cancel;
  const base::ProcessResult result = base::run_process(request);
  HookOutcome outcome;
  outcome.exit_code = result.exit_code;
  outcome.signal = result.signal;
  outcome.timed_out = result.timed_out;
  outcome.output = result.captured.at(1);
  return outcome;
}

std::string delivered_path(const FileContext& context, const File& file) {
  return context.config.get()->files.inbound + "/" + file.delivered_as;
}

}  // namespace

std::string run_hook(const FileContext& context, const File& file, int cancel) {
  const auto config = context.config.get();
  const std::vector<std::string> facts = {"SALLYPORT_FILE_ID=" + file.id,
                                          "SALLYPORT_PARTNER=" + file.partner,
                                          "SALLYPORT_OBJECT=" + file.object,
                                          "SALLYPORT_NAME=" + file.name,
                                          "SALLYPORT_PATH=" + delivered_path(context, file),
                                          "SALLYPORT_SIZE=" + std::to_string(file.size),
                                          "SALLYPORT_SHA256=" + file.plain_sha256,
                                          "SALLYPORT_ORIGINAL_SHA256=" + file.sha256,
                                          "SALLYPORT_RECEIVED=" + base::format_iso(file.received)};
  const HookOutcome outcome = config->files.hook_socket.empty()
                                  ? spawn_hook(*config, facts, cancel)
                                  : ask_hook_service(config->files.hook_socket,
                                                     {facts, config->files.hook_timeout}, cancel);
  if (outcome.succeeded()) return "";
  if (!outcome.refused.empty()) return outcome.refused;
  if (outcome.timed_out) {
    return "the hook did not end within " + base::format_duration(config->files.hook_timeout);
  }
  const std::string said = first_words(outcome.output);
  std::string trouble = outcome.exit_code
                            ? "the hook ended with status " + std::to_string(*outcome.exit_code)
                            : "the hook was killed by signal " + std::to_string(outcome.signal);
  return said.empty() ? trouble : trouble + ": " + said;
}

std::string send_webhook(const FileContext& context, const File& file) {
  const auto config = context.config.get();
  notify::WebhookSettings settings;
  settings.url = config->files.webhook_url;
  settings.secret = base::read_secret(config->files.webhook_secret_file);
  notify::CloudEvent event;
  // The same on every attempt: who gets it twice can tell.
  event.id = file.id + ".delivered";
  event.source = "//" + node_name(*config) + "/organizations/" + config->organization;
  event.type = "com.sallyport.file.delivered";
  event.subject = file.id;
  event.time = context.now();
  Json data = to_json(file);
  data.set("path", delivered_path(context, file));
  event.data_json = data.dump();
  notify::WebhookSender sender(std::move(settings));
  const notify::Delivery delivery = sender.send(event, context.now());
  return delivery.accepted() ? "" : "the webhook was not accepted: " + delivery.answer;
}

std::string write_receipt(const FileContext& context, const File& file) {
  const bool failed = file.state == store::FileState::failed;
  Json receipt = Json::object({{"file", join(file.object, file.name)},
                               {"reference", file.id},
                               {"size", static_cast<std::int64_t>(file.size)},
                               {"sha256", file.sha256},
                               {"received", base::format_iso(file.received)},
                               {"outcome", failed ? "failed" : "delivered"}});
  if (failed) {
    receipt.set("reasonCode", file.reason_code);
    receipt.set("reason", file.reason);
  }
  const std::string signer = choose_signer(context.pgp, context.now());
  if (signer.empty()) return "there is no PGP key of ours to sign with";
  std::string text;
  const pgp::Outcome outcome =
      context.pgp.clear_sign(receipt.pretty() + "\n", signer, text, context.pgp_now());
  if (!outcome.ok()) return std::string(pgp::sentence(outcome.reason));

  const Directory place = context.tree(file.partner, "/Outgoing/Receipts");
  const Directory sending = context.partner_directory(file.partner).make("sending", 0700);
  const std::string name = with_ending(split_last(file.name).name, "." + file.id + ".json.asc");
  const std::string temporary = file.id + ".receipt";
  {
    const base::UniqueFd made = sending.make_file(temporary, shared_file_mode);
    share_file(made.get(), place, shared_file_mode, temporary);
    base::write_all(made.get(), text, temporary);
    base::fsync_file(made.get(), temporary);
  }
  // One is there already if an earlier attempt was interrupted before it was recorded, or if the
  // file failed and was retried: the last outcome is the one that counts.
  for (int tries = 0; move_file(sending, temporary, place, name) == Moved::name_taken; ++tries) {
    if (tries == 2) return "another receipt takes the name " + name + " again and again";
    place.remove_file(name);
  }
  return "";
}

}  // namespace sallyport::daemon
