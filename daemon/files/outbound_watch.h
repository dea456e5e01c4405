// Notices files that become complete in outbound/<partner>/<object>/: closed after writing or moved
// in, with no writer left; at the start, after an overflow and whenever directories change it looks
// at everything that is there.
//
// Names that begin with '.' or match the partner's not-ready patterns are left alone until they are
// renamed. Where the system does not tell whether somebody still writes (leases need the file's
// owner or CAP_LEASE), a file that no close was seen of has to keep its size and times for 2 s.
//
// One thread of its own between start() and stop(). Failures are raised as health
// ("outbound.unreadable") and looked at again every 10 s.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "base/c_handle.h"
#include "daemon/files/context.h"
#include "daemon/files/outbound.h"

namespace sallyport::daemon {

/// Whether a file of this name is left alone until it is renamed.
[[nodiscard]] bool is_not_ready(const PartnerPolicy& policy, const std::string& name);

class OutboundWatch {
 public:
  /// `taken` gets each file that was taken.
  OutboundWatch(const FileContext& context, Outbound& outbound, FileSink taken);
  ~OutboundWatch();

  void start();
  void stop();
  /// Partners or their objects changed: look at all directories again. Any thread.
  void rescan();

 private:
  struct Folder {
    std::string partner;  ///< empty: the root
    std::string object;
    bool holds_objects = false;  ///< the root or a partner's own directory
  };
  struct Look {
    std::int64_t size = -1;
    std::int64_t changed = 0;
    std::chrono::steady_clock::time_point at;
  };

  void run();
  void scan();
  void add_watch(const std::string& path, Folder folder);
  void read_events();
  void consider(const std::string& partner, const std::string& object, const std::string& name,
                bool was_closed);
  /// Notes a folder with files in a place where none are taken.
  void look_for_lost(const Directory& in, const std::string& key, const std::string& name,
                     const std::string& why);
  [[nodiscard]] bool is_settled(const std::string& key, int fd);
  [[nodiscard]] std::chrono::milliseconds pause() const;

  FileContext context_;
  Outbound& outbound_;
  FileSink taken_;
  base::UniqueFd inotify_;
  base::UniqueFd wake_;
  std::map<int, Folder> folders_;
  std::map<std::string, Look> unsettled_;
  std::map<std::string, std::string> unreadable_;  ///< path -> why
  bool scan_wanted_ = true;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace sallyport::daemon
