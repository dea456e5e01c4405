// Uploads on their way into the journal: from the list of intents of a session to the file that the
// pipeline gets.
//
// A line of such a list (sftp/intents.h) says all that is to be known of a file, and is durable
// before the session moves the file into the spool. With that move the file is received, whatever
// happens: so nobody waits for its row, and the rows of many small files are made in one commit.
// While files come one right after the other the processors are left to who sends them, for less
// than a second: then, or in the first calm moment, their rows are made and the pipeline begins.
// Lists are removed as their lines get into the journal. What nobody was told of (its session was
// killed, or this program, or the machine) is found in the lists: when the session has ended, and
// at the start.
//
// Threads: any; one of its own records. stop() records what it can, then joins.
// Failures: base::Error out of uploaded(); what the store cannot take, or what cannot be looked at,
// is kept, raises the health condition "files.unrecorded", and is tried again: after a second at
// first, after a minute at last. One that cannot be looked at keeps others waiting for some
// seconds, for the order, and then none.
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
#include <utility>
#include <vector>

#include "daemon/files/context.h"
#include "store/files.h"

namespace sallyport::daemon {

/// Told of every file that the pipeline has something to do for.
using FileSink = std::function<void(const store::File&)>;

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

  /// `uploader` as in store::File.
  void session_began(const std::string& session_id, const std::string& partner,
                     std::string uploader);
  /// What has become of line `line` of its lists. Does not touch disk or store. Throws for what no
  /// honest session says: then it is to be cut off, and its lists tell.
  void uploaded(const std::string& session_id, store::UploadIntent intent, std::uint64_t line,
                bool in_spool);
  /// `cut_off`: not by itself, so its process may be at its lists for a while.
  void session_ended(const std::string& session_id, bool cut_off);

  /// Looks at the lists of sessions that an interruption ended: a file in the spool is received, in
  /// the order in which they came there; where there is none, and no session can still be at it,
  /// the intent is dropped. After the start this is done once without being asked for, before all
  /// else.
  void resolve();

  /// Blocks until there is nothing to do, or the deadline.
  void wait_idle(std::chrono::steady_clock::time_point deadline);
  /// All there is to do, in the calling thread: for tests without the thread. Throws store::Error.
  void work();

 private:
  using Clock = std::chrono::steady_clock;

  /// A session of this program.
  struct Session {
    std::string partner;
    std::string uploader;
    std::set<std::uint64_t> unrecorded;  ///< lines that were told of and are no rows yet
    std::uint64_t last_line = 0;         ///< that was told of: all before it were
    std::string last_id;
    std::uint64_t removed_parts = 0;
    unsigned given_up = 0;   ///< uploads that came to nothing
    bool list_kept = false;  ///< a part could not be removed
    bool cut_off = false;
    bool ended = false;
  };
  /// A line that was told of.
  struct Told {
    store::UploadIntent intent;
    std::string session_id;
    std::uint64_t line = 0;
    bool in_spool = false;
    bool tried = false;  ///< in a commit whose end is not known
  };
  /// A session whose lists hold more than was told.
  struct Left {
    std::string uploader;   ///< "": as its lists say
    base::Instant since{};  ///< when it was found
    bool may_run = false;   ///< it may be at its lists for a while
    bool foreign = false;   ///< of another node, which may be at work: never removed
    bool is_read = false;   ///< in this look, from beginning to end
    std::set<std::string> settled;
    std::size_t unsettled = 0;
  };
  using LeftKey = std::pair<std::string, std::string>;  ///< partner, session
  enum class Place { absent, damaged, whole };
  class Shared;
  struct Found;

  // intake.cc: what sessions tell
  void run();
  void wait_for_work(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] bool has_work() const;
  [[nodiscard]] Clock::time_point burst_is_over() const;
  [[nodiscard]] std::vector<Told> first_told(std::size_t most);
  bool record_some();
  void recorded(const std::vector<Told>& batch);
  bool wait_for_the_first(const std::string& blocked);
  [[nodiscard]] bool is_given_up(const std::string& partner);
  void resolve_again(std::chrono::seconds pause);
  /// The row of an upload, by what is in its place; nullopt if nobody has to be told of it.
  [[nodiscard]] std::optional<store::File> record(store::Unit& unit,
                                                  const store::UploadIntent& intent, Place place,
                                                  bool has_object, bool tried,
                                                  std::string_view step) const;
  [[nodiscard]] std::vector<std::string> objects_of(store::Unit& unit,
                                                    const std::string& partner) const;
  /// No folder is an object, too.
  [[nodiscard]] static bool holds(const std::vector<std::string>& objects,
                                  const std::string& object);
  void tell(const store::File& file) const;

  // intake_resolve.cc: what nobody told
  void close_ended();
  [[nodiscard]] bool was_all_told(const std::string& session_id, const Session& session) const;
  void resolve_asked();
  void resolve_now();
  void look_for_left();
  void add_of_partner(const std::string& partner, std::vector<Found>& all);
  [[nodiscard]] std::size_t add_of_session(const LeftKey& key, const std::set<std::uint64_t>& parts,
                                           Left& left, std::vector<Found>& all);
  void add_of_table(std::vector<Found>& all);
  [[nodiscard]] std::set<std::string> partners_with_left() const;
  void take_up(const Found& found);
  void drop(const std::vector<const Found*>& absent);
  void is_settled(const Found& found);
  void forget_settled(const std::string& partner);

  FileContext context_;
  FileSink received_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Session> sessions_;
  std::map<std::string, std::size_t> unrecorded_;  ///< lines that were told of, by partner
  std::set<std::string> ended_;  ///< of them, those whose lists are to be looked at
  std::deque<Told> told_;
  Clock::time_point burst_began_{};  ///< since then nobody waited long for the next of told_
  Clock::time_point last_told_{};
  std::vector<Told> deferred_;  ///< until the next resolve
  bool resolve_ = true;
  std::optional<std::chrono::steady_clock::time_point> again_at_;  ///< then it is asked for
  bool working_ = false;
  bool stopping_ = false;
  std::thread thread_;

  // Of who works, alone:
  /// How many go into one commit: one, where several were refused together.
  std::size_t together_ = 1;
  int looks_ = 0;  ///< at the first in line, in vain
  std::map<std::string, std::chrono::steady_clock::time_point> given_up_;  ///< by partner, until
  std::map<LeftKey, Left> left_;
  std::optional<base::Instant> first_look_;  ///< for what an earlier program left
  bool all_left_known_ = false;
  bool resolve_soon_ = false;    ///< there was more than is looked at in one go
  bool looked_through_ = false;  ///< all of it has been looked at once
  std::string why_deferred_;
  std::chrono::seconds deferred_pause_{1};
  std::string unreadable_;  ///< why one of them could not be looked at
  std::chrono::seconds again_pause_{1};
};

}  // namespace sallyport::daemon
