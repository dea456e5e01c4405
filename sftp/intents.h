// A session's list of intents: what it is about to move into the spool, durable before the move.
//
// With that line and that move a file of /Incoming is received, whatever happens to the session,
// to the daemon or to the machine; so a partner's OK waits for no other process and no database.
// The session tells the daemon of every line (UploadDone, sftp/broker.h), which makes it a row of
// its journal. What the daemon was not told of, it finds in the list: when the session has ended,
// or at its own start.
//
// A list is staging/<session id>.intents.1, .2, ...: so many lines each, one write and one fsync a
// line. The daemon removes a part when all its lines are in the journal, and the others when the
// session has ended. A session that is too many parts ahead of the journal takes no more files.
//
// IntentList belongs to a session, one thread; it returns false with errno set. The other functions
// are pure: what they read was written by the front, so it is a claim, and what is no intent is
// left out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/c_handle.h"

namespace sallyport::sftp {

struct Intent {
  std::string file_id;  ///< its name in the spool: 26 characters a-z2-7
  std::string path;     ///< "/Incoming/Invoices/2026/a.pdf"
  std::uint64_t size = 0;
  base::Sha256 sha256{};

  friend bool operator==(const Intent&, const Intent&) = default;
};

inline constexpr std::uint64_t intents_of_a_part = 1000;
/// How far the journal may be behind, in parts.
inline constexpr std::uint64_t most_open_parts = 8;

class IntentList {
 public:
  /// `staging` is a directory that outlives this. `heading` begins each part; without newlines.
  IntentList(int staging, std::string session_id, std::string heading)
      : staging_(staging), session_id_(std::move(session_id)), heading_(std::move(heading)) {}

  /// True: it is durable. False: the file must not be moved; errno is EAGAIN if the journal is too
  /// far behind, ESTALE if somebody has removed the list.
  [[nodiscard]] bool add(const Intent& intent);
  /// The number of the last line, from 1. The daemon is told of each, of one that may not be
  /// durable, too.
  [[nodiscard]] std::uint64_t lines() const { return lines_; }

 private:
  bool open_part(std::uint64_t part);

  int staging_;
  std::string session_id_;
  std::string heading_;
  base::UniqueFd file_;
  std::uint64_t part_ = 0;
  std::uint64_t lines_ = 0;
  std::int64_t length_ = 0;  ///< of the part, as far as it is lines
  bool torn_ = false;        ///< behind them lies a piece of one
  bool named_ = false;       ///< its entry in staging/ is durable
};

[[nodiscard]] constexpr std::uint64_t part_of_line(std::uint64_t line) {
  return (line - 1) / intents_of_a_part + 1;
}

/// "<session id>.intents.<part>"
[[nodiscard]] std::string intents_name(std::string_view session_id, std::uint64_t part);
struct IntentsName {
  std::string session_id;
  std::uint64_t part = 0;
};
[[nodiscard]] std::optional<IntentsName> parse_intents_name(std::string_view name);

/// 26 characters a-z2-7: an id as base::random_id() makes them.
[[nodiscard]] bool is_id(std::string_view text);
/// A file below /Incoming, written as a session writes it.
[[nodiscard]] bool is_incoming_file(const std::string& path);

/// With its newline.
[[nodiscard]] std::string intent_line(const Intent& intent);

struct IntentsPart {
  std::string heading;
  std::vector<Intent> intents;
  std::size_t bytes = 0;  ///< of the text
};
/// Takes any text; of more lines than a list has, what comes first.
[[nodiscard]] IntentsPart parse_intents(std::string_view text);

}  // namespace sallyport::sftp
