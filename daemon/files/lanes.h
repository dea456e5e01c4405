// Who may be worked on now: the lines of files, one for each partner and object.
//
// Within a line files are published in the order of their sequence; preparing (decryption) may run
// ahead by a few. Lines take turns, so that a long one does not hold up the others. What has no
// order - archiving, parking, outbound work - are errands.
//
// Pure bookkeeping: no store, no files, no clock. Not thread-safe; the pipeline guards it.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace sallyport::daemon {

enum class JobKind { prepare, publish, errand };

struct Job {
  JobKind kind = JobKind::errand;
  std::string id;
};

class Lanes {
 public:
  /// `ahead`: how many files of a line may be prepared and wait for their turn.
  explicit Lanes(unsigned ahead) : ahead_(ahead) {}

  /// A file in state received (prepared = false) or decrypted (true). Ignored while it is known,
  /// unless it waits for a retry, which ends with this.
  void add(const std::string& id, const std::string& line, std::int64_t sequence, bool prepared);
  /// A file that waits for a retry: keeps its place, as after waits(). Ignored while it is known.
  void hold(const std::string& id, const std::string& line, std::int64_t sequence, bool holds);
  /// Work without an order. Ignored while the same id is known.
  void add_errand(const std::string& id);

  /// The next thing to do, if anything can be done: publishing before errands before preparing.
  /// The file is busy until one of the four calls below.
  [[nodiscard]] std::optional<Job> take();

  void is_prepared(const std::string& id);
  /// It keeps its place in the line, nobody works on it until add() names it again. `holds`: later
  /// files have to wait for it.
  void waits(const std::string& id, bool holds);
  /// Published, failed or none of our business any more.
  void leave(const std::string& id);
  /// As leave(), if nobody works on it.
  void leave_if_waiting(const std::string& id);

  [[nodiscard]] std::size_t known() const { return files_.size() + errands_known_.size(); }
  /// Something is being worked on or could be.
  [[nodiscard]] bool is_active() const;

 private:
  enum class Stage { unprepared, preparing, prepared, publishing, waiting };
  struct Entry {
    std::string id;
    Stage stage = Stage::unprepared;
    bool holds = true;
  };
  struct Line {
    std::map<std::int64_t, Entry> entries;
    bool publishing = false;
    unsigned in_front = 0;  ///< preparing or prepared
    bool queued_to_publish = false;
    bool queued_to_prepare = false;
  };
  struct Place {
    std::string line;
    std::int64_t sequence = 0;
  };

  [[nodiscard]] Entry* publishable(Line& line);
  [[nodiscard]] Entry* preparable(Line& line);
  void reconsider(const std::string& name, Line& line);
  Entry* find(const std::string& id, Line*& line, std::string& name);
  void set_stage(Line& line, Entry& entry, Stage stage);

  unsigned ahead_;
  std::unordered_map<std::string, Line> lines_;
  std::unordered_map<std::string, Place> files_;
  std::unordered_map<std::string, bool> errands_known_;  ///< true: being done
  std::deque<std::string> errands_;
  std::deque<std::string> to_publish_;  ///< names of lines
  std::deque<std::string> to_prepare_;
  std::size_t busy_ = 0;
};

}  // namespace sallyport::daemon
