// Uploads on their way into the journal: from the intent that a session announces to the file that
// the pipeline gets.
//
// An intent says all that is to be known of a file, and is durable before the session moves the
// file into the spool. With that move the file is received, whatever happens: so nobody waits for
// its row, and the rows of many small files are made in one commit. A daemon that comes up after an
// interruption finds what was announced, and where it lies.
//
// Threads: any; one of its own records. stop() records what it can, then joins.
// Failures: store::Error out of begin(), base::Error out of finish(); what else the store cannot
// take, or what cannot be looked at, is kept, raises the health condition "files.unrecorded", and
// is tried again: after a second at first, after a minute at last. One that cannot be looked at
// keeps others waiting for some seconds, for the order, and then none.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/locked.h"
#include "daemon/files/context.h"
#include "store/files.h"

namespace sallyport::daemon {

/// Told of every file that the pipeline has something to do for.
using FileSink = std::function<void(const store::File&)>;

/// As its intent has it.
[[nodiscard]] store::File announced_file(const store::UploadIntent& intent);
/// With the first step of its history.
void insert_announced(store::Unit& unit, const store::File& file);

class Intake {
 public:
  /// `received` is called after the commit, in the order of the sequence numbers of a partner and
  /// object.
  Intake(const FileContext& context, FileSink received)
      : context_(context), received_(std::move(received)) {}
  ~Intake() { stop(); }
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;

  void start();
  void stop();

  /// Commits the intent, in the place of the one named `replaces` if that is not "". Its ordinal is
  /// given here.
  void begin(store::UploadIntent intent, const std::string& replaces);
  /// The file is in the spool. Does not touch disk or store. Throws for what was not begun here.
  void finish(const std::string& id);
  /// Nothing is in the spool, and nothing will be.
  void abort(const std::string& id);
  /// The session that began these has ended: what it moved into the spool is received.
  void ended(const std::vector<std::string>& ids);

  /// Uploads that were begun and neither finished nor aborted, because a program or the machine
  /// went down: a file in the spool is received, in the order in which they came there; where there
  /// is none, and no session can still be at it, the intent is dropped. `all`: also those that are
  /// not so old. After the start this is done once without being asked for, before all else.
  void resolve(bool all);

  /// Blocks until there is nothing to do, or the deadline.
  void wait_idle(std::chrono::steady_clock::time_point deadline);
  /// All there is to do, in the calling thread: for tests without the thread. Throws store::Error.
  void work();

 private:
  enum class Resolve { nothing, old, all };

  struct Found;

  void run();
  void wait_for_work(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] bool has_work() const;
  [[nodiscard]] std::int64_t next_ordinal();
  [[nodiscard]] bool is_under_way(const std::string& id);
  [[nodiscard]] std::vector<store::UploadIntent> first_finished(std::size_t most);
  bool record_some();
  bool wait_for_the_first(const std::string& blocked);
  [[nodiscard]] bool is_given_up(const std::string& partner);
  void resolve_again(std::chrono::seconds pause);
  void report(const store::UploadIntent& skipped) const;
  [[nodiscard]] std::optional<store::File> make_received(store::Unit& unit,
                                                         const store::UploadIntent& intent,
                                                         std::string_view step) const;
  void tell(const store::File& file) const;
  bool drop_some();
  void resolve_asked();
  void resolve_now(Resolve asked);
  void resolve_one(const Found& found, bool all);
  void refuse_damaged(const store::UploadIntent& intent);

  FileContext context_;
  FileSink received_;
  /// Those of sessions that are at them.
  base::Locked<std::map<std::string, store::UploadIntent>> begun_;
  base::Locked<std::int64_t> last_ordinal_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<store::UploadIntent> finished_;
  std::set<std::string> dropped_;
  Resolve resolve_ = Resolve::all;
  Resolve again_ = Resolve::nothing;  ///< what is asked for at `again_at_`
  std::chrono::steady_clock::time_point again_at_;
  bool working_ = false;
  bool stopping_ = false;
  std::thread thread_;

  // Of who works, alone:
  /// How many go into one commit: one, where several were refused together.
  std::size_t together_ = 1;
  int looks_ = 0;  ///< at the first in line, in vain
  std::map<std::string, std::chrono::steady_clock::time_point> given_up_;  ///< by partner, until
  bool looked_through_ = false;  ///< all that an earlier program left
  std::string unreadable_;       ///< why one of them could not be looked at
  std::chrono::seconds again_pause_{1};
};

}  // namespace sallyport::daemon
