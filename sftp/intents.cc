#include "sftp/intents.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "sftp/areas.h"
#include "sftp/tree.h"

namespace sallyport::sftp {
namespace {

constexpr std::string_view infix = ".intents.";
constexpr std::size_t id_length = 26;

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// What stands before the next `mark` of `text`, which begins behind it then.
std::string_view take_until(std::string_view& text, char mark) {
  const std::size_t at = std::min(text.find(mark), text.size());
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return taken;
}

std::optional<Intent> parse_line(std::string_view line) {
  Intent intent;
  intent.file_id = take_until(line, '\t');
  const auto size = number_of(take_until(line, '\t'));
  const auto hash = base::from_hex(take_until(line, '\t'));
  intent.path = line;
  if (!is_id(intent.file_id) || !size || !hash || hash->size() != intent.sha256.size() ||
      !is_incoming_file(intent.path))
    return std::nullopt;
  intent.size = *size;
  std::copy(hash->begin(), hash->end(), intent.sha256.begin());
  return intent;
}

}  // namespace

bool IntentList::open_part(std::uint64_t part) {
  struct stat ignored {};
  if (part > most_open_parts &&
      ::fstatat(staging_, intents_name(session_id_, part - most_open_parts).c_str(), &ignored,
                AT_SYMLINK_NOFOLLOW) == 0) {
    errno = EAGAIN;
    return false;
  }
  file_ = open_beneath(staging_, intents_name(session_id_, part).c_str(),
                       O_WRONLY | O_CREAT | O_APPEND, 0660);
  if (!file_) return false;
  part_ = part;
  length_ = 0;
  torn_ = false;
  named_ = false;
  return true;
}

bool IntentList::add(const Intent& intent) {
  const std::uint64_t line = lines_ + 1;
  if (part_of_line(line) != part_ && !open_part(part_of_line(line))) return false;
  std::string text;
  if (torn_) text += '\n';
  if (length_ == 0) text += heading_ + '\n';
  text += intent_line(intent);
  const ssize_t written = ::write(file_.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) {
    const int error = written < 0 ? errno : ENOSPC;
    torn_ = torn_ || (written > 0 && ::ftruncate(file_.get(), length_) != 0);
    errno = error;
    return false;
  }
  length_ += written;
  torn_ = false;
  lines_ = line;
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) return false;
  if (status.st_nlink == 0) {
    errno = ESTALE;
    return false;
  }
  if (::fsync(file_.get()) != 0) {
    torn_ = true;  // who knows what of it is there
    return false;
  }
  if (!named_ && ::fsync(staging_) != 0) return false;
  named_ = true;
  return true;
}

std::string intent_line(const Intent& intent) {
  return intent.file_id + '\t' + std::to_string(intent.size) + '\t' + base::to_hex(intent.sha256) +
         '\t' + intent.path + '\n';
}

std::string intents_name(std::string_view session_id, std::uint64_t part) {
  return std::string(session_id) + std::string(infix) + std::to_string(part);
}

std::optional<IntentsName> parse_intents_name(std::string_view name) {
  if (name.size() <= id_length + infix.size() || !is_id(name.substr(0, id_length)) ||
      name.substr(id_length, infix.size()) != infix)
    return std::nullopt;
  const auto part = number_of(name.substr(id_length + infix.size()));
  if (!part || *part == 0 || intents_name(name.substr(0, id_length), *part) != name)
    return std::nullopt;
  return IntentsName{std::string(name.substr(0, id_length)), *part};
}

bool is_id(std::string_view text) {
  return text.size() == id_length && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7');
         });
}

bool is_incoming_file(const std::string& path) {
  const auto resolved = VirtualPath::resolve("/", path);
  return resolved && resolved->text() == path && resolved->area() == Area::incoming &&
         resolved->depth() >= 2;
}

IntentsPart parse_intents(std::string_view text) {
  IntentsPart part;
  part.bytes = text.size();
  part.heading = take_until(text, '\n');
  std::uint64_t lines = 0;
  // What has no end was cut short, though it may look whole.
  while (text.find('\n') != text.npos && part.intents.size() < intents_of_a_part &&
         lines++ < 2 * intents_of_a_part) {
    if (auto intent = parse_line(take_until(text, '\n')))
      part.intents.push_back(std::move(*intent));
  }
  return part;
}

}  // namespace sallyport::sftp
