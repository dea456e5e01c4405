#include "daemon/files/outbound_watch.h"

#include <fnmatch.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "daemon/files/names.h"

namespace sallyport::daemon {
namespace {

constexpr std::chrono::seconds settle_time{2};
constexpr std::chrono::seconds retry_time{10};
/// Directories that appear are found by events; this is the net below them.
constexpr std::chrono::seconds scan_time{60};
constexpr std::uint32_t watched =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK;

std::int64_t nanoseconds(const struct ::timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

/// What a folder holds that is in sight.
bool has_files(const Directory& folder) {
  const auto names = folder.list();
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.front() != '.'; });
}

}  // namespace

bool is_not_ready(const PartnerPolicy& policy, const std::string& name) {
  return name.front() == '.' ||
         std::any_of(policy.not_ready.begin(), policy.not_ready.end(),
                     [&](const std::string& pattern) {
                       return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
                     });
}

OutboundWatch::OutboundWatch(const FileContext& context, Outbound& outbound, FileSink taken)
    : context_(context), outbound_(outbound), taken_(std::move(taken)) {}

OutboundWatch::~OutboundWatch() {
  stop();
}

void OutboundWatch::start() {
  inotify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify_) throw base::SystemError(errno, "watch the outbound directory");
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) throw base::SystemError(errno, "watch the outbound directory");
  thread_ = std::thread([this] { run(); });
}

void OutboundWatch::stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  rescan();
  thread_.join();
}

void OutboundWatch::rescan() {
  const std::uint64_t one = 1;
  if (wake_ && ::write(wake_.get(), &one, sizeof one) < 0 && errno != EAGAIN) {
    base::log_error("outbound.watch", {}, "cannot wake the outbound watch: {}",
                    std::strerror(errno));
  }
}

std::chrono::milliseconds OutboundWatch::pause() const {
  if (!unsettled_.empty()) return settle_time;
  if (!unreadable_.empty()) return retry_time;
  return scan_time;
}

void OutboundWatch::run() {
  while (!stopping_) {
    try {
      if (scan_wanted_) {
        scan_wanted_ = false;
        scan();
      }
      context_.health.clear("outbound.watch");
    } catch (const std::exception& error) {
      context_.health.raise("outbound.watch",
                            std::string("Outgoing files are not noticed: ") + error.what());
    }
    std::array<pollfd, 2> wait{pollfd{inotify_.get(), POLLIN, 0}, pollfd{wake_.get(), POLLIN, 0}};
    const int ready = ::poll(wait.data(), wait.size(), static_cast<int>(pause().count()));
    if (ready == 0) scan_wanted_ = true;
    if ((wait[1].revents & POLLIN) != 0) {
      std::uint64_t count = 0;
      static_cast<void>(!::read(wake_.get(), &count, sizeof count));
      scan_wanted_ = true;
    }
    if ((wait[0].revents & POLLIN) != 0) read_events();
  }
}

void OutboundWatch::add_watch(const std::string& path, Folder folder) {
  const int watch = ::inotify_add_watch(inotify_.get(), path.c_str(), watched);
  if (watch >= 0) {
    folders_[watch] = std::move(folder);
    return;
  }
  if (errno == ENOENT || errno == ENOTDIR) return;
  if (errno == ENOSPC) {
    throw base::Error(
        "the system's limit of inotify watches is reached; raise "
        "fs.inotify.max_user_watches");
  }
  throw base::SystemError(errno, "watch " + path);
}

void OutboundWatch::scan() {
  const Directory root = Directory::open(context_.config.get()->files.outbound);
  unreadable_.clear();
  // Watch first, then look: what comes between is seen twice, never missed.
  add_watch(root.path(), Folder{"", "", true});
  const auto partners =
      context_.store.read([](store::Unit& unit) { return store::list_partners(unit); });
  for (const auto& partner : partners) {
    const Directory own = root.make(partner.name, shared_directory_mode);
    add_watch(own.path(), Folder{partner.name, "", true});
    for (const std::string& object : context_.policy(partner, "").objects) {
      static_cast<void>(own.make(object, shared_directory_mode));
    }
    for (const std::string& name : own.list()) {
      const auto status = own.look(name);
      if (!status) continue;
      if (S_ISREG(status->st_mode)) consider(partner.name, "", name, false);
      if (!S_ISDIR(status->st_mode) || name.front() == '.') continue;
      const auto folder = own.find(name);
      if (!folder) continue;
      add_watch(folder->path(), Folder{partner.name, name, false});
      for (const std::string& file : folder->list()) {
        consider(partner.name, name, file, false);
        look_for_lost(*folder, join(join(partner.name, name), file), file,
                      "folders in the folder of an object are not looked into");
      }
    }
  }
  for (const std::string& name : root.list()) {
    const bool known = std::any_of(partners.begin(), partners.end(),
                                   [&](const auto& partner) { return partner.name == name; });
    if (!known) look_for_lost(root, name, name, "there is no partner of this name");
    const auto status = root.look(name);
    if (status && S_ISREG(status->st_mode) && name.front() != '.') {
      unreadable_.emplace(name, "files belong into the folder of a partner");
    }
  }
  std::string all;
  for (const auto& [path, why] : unreadable_) all += (all.empty() ? "" : "; ") + path + ": " + why;
  context_.health.set("outbound.unreadable", !unreadable_.empty(),
                      "Files wait in the outbound directory that cannot be taken: " + all);
}

void OutboundWatch::look_for_lost(const Directory& in, const std::string& key,
                                  const std::string& name, const std::string& why) {
  if (name.front() == '.') return;
  try {
    const auto status = in.look(name);
    if (!status || !S_ISDIR(status->st_mode)) return;
    const auto folder = in.find(name);
    if (folder && has_files(*folder)) unreadable_.emplace(key, why);
  } catch (const base::Error& error) {
    unreadable_.emplace(key, error.what());
  }
}

void OutboundWatch::read_events() {
  alignas(inotify_event) std::array<char, 64 * 1024> buffer{};
  for (;;) {
    const ssize_t got = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (got <= 0) return;
    for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* const text = buffer.data() + at + sizeof event;
      const std::string name(text, event.len == 0 ? 0 : ::strnlen(text, event.len));
      at += sizeof event + event.len;
      if ((event.mask & IN_Q_OVERFLOW) != 0) scan_wanted_ = true;
      if ((event.mask & IN_IGNORED) != 0) folders_.erase(event.wd);
      const auto folder = folders_.find(event.wd);
      if (folder == folders_.end() || name.empty()) continue;
      if ((event.mask & IN_ISDIR) != 0) {
        if (folder->second.holds_objects) scan_wanted_ = true;
        continue;
      }
      if (folder->second.partner.empty()) continue;
      // A link only tells by IN_CREATE that it is there; what is being written has a writer then.
      const bool was_closed = (event.mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0;
      const Folder in = folder->second;
      consider(in.partner, in.object, name, was_closed);
    }
  }
}

bool OutboundWatch::is_settled(const std::string& key, int fd) {
  struct ::stat status {};
  if (::fstat(fd, &status) != 0) return false;
  const auto now = std::chrono::steady_clock::now();
  Look& look = unsettled_[key];
  const std::int64_t changed = nanoseconds(status.st_mtim) ^ nanoseconds(status.st_ctim);
  if (look.size != status.st_size || look.changed != changed) {
    look = Look{status.st_size, changed, now};
    return false;
  }
  return now - look.at >= settle_time;
}

void OutboundWatch::consider(const std::string& partner, const std::string& object,
                             const std::string& name, bool was_closed) {
  const std::string key = join(join(partner, object), name);
  try {
    const store::Partner record = context_.partner(partner);
    const PartnerPolicy policy = context_.policy(record, object);
    if (is_not_ready(policy, name)) return;
    if (!is_component(name)) throw base::Error("its name is not UTF-8 or has control characters");
    const Directory folder = outbound_.source_directory(partner, object);
    const auto status = folder.look(name);
    if (!status || S_ISDIR(status->st_mode)) {
      unsettled_.erase(key);
      return;
    }
    const auto file = folder.open_file(name);
    if (!file) return;
    const Writers writers = writers_of(file->get());
    if (writers == Writers::some) return;  // its close will be seen
    if (writers == Writers::unknown && !was_closed && !is_settled(key, file->get())) return;
    unsettled_.erase(key);
    if (const auto taken = outbound_.take(partner, object, name)) taken_(*taken);
  } catch (const std::exception& error) {
    unsettled_.erase(key);
    if (unreadable_.emplace(key, error.what()).second) {
      context_.health.raise(
          "outbound.unreadable",
          "A file in the outbound directory cannot be taken: " + key + ": " + error.what());
      base::log_error("outbound.unreadable", {{"path", key}}, "{} cannot be taken: {}", key,
                      error.what());
    }
  }
}

}  // namespace sallyport::daemon
