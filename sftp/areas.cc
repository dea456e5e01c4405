#include "sftp/areas.h"

#include <algorithm>

#include "base/bytes.h"

namespace sallyport::sftp {
namespace {

constexpr std::size_t most_name_bytes = 255;
constexpr std::size_t most_path_bytes = 4096;

}  // namespace

std::optional<VirtualPath> VirtualPath::resolve(std::string_view base, std::string_view raw) {
  VirtualPath path;
  std::vector<std::string_view> parts;
  const auto take = [&parts](std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('/'), text.size());
      const std::string_view part = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (part.empty() || part == ".") continue;
      if (part == "..") {
        if (!parts.empty()) parts.pop_back();
        continue;
      }
      if (part.size() > most_name_bytes || !base::is_utf8(part) || base::has_control(part))
        return false;
      parts.push_back(part);
    }
    return true;
  };
  if (raw.size() > most_path_bytes) return std::nullopt;
  if (raw.empty() || raw.front() != '/') {
    if (!take(base)) return std::nullopt;
  }
  if (!take(raw)) return std::nullopt;
  if (!parts.empty()) path.text_.clear();
  for (const std::string_view part : parts) {
    path.text_ += '/';
    path.text_ += part;
  }
  if (path.text_.size() > most_path_bytes) return std::nullopt;
  path.depth_ = parts.size();
  path.for_folder_ = raw.ends_with('/');
  return path;
}

std::string_view VirtualPath::why_bad(std::string_view base, std::string_view raw) {
  const std::size_t before = raw.empty() || raw.front() != '/' ? base.size() + 1 : 0;
  return before + raw.size() > most_path_bytes
             ? "A path must have at most 4096 bytes"
             : "Names must be UTF-8 of at most 255 bytes without control characters";
}

std::string_view VirtualPath::name() const {
  return std::string_view(text_).substr(text_.rfind('/') + 1);
}

std::string VirtualPath::parent() const {
  const std::size_t slash = text_.rfind('/');
  return slash == 0 ? std::string(".") : text_.substr(1, slash - 1);
}

std::string_view VirtualPath::part(std::size_t index) const {
  std::string_view rest = std::string_view(text_).substr(1);
  for (; index > 0; --index) {
    const std::size_t slash = rest.find('/');
    if (slash == std::string_view::npos) return {};
    rest.remove_prefix(slash + 1);
  }
  return rest.substr(0, rest.find('/'));
}

Area VirtualPath::area() const {
  const std::string_view top = part(0);
  if (top == "Incoming") return Area::incoming;
  if (top == "Outgoing") return Area::outgoing;
  if (top == "Archive") return Area::archive;
  if (top == "Shared") return Area::shared;
  return Area::top;
}

bool VirtualPath::holds(const VirtualPath& other) const {
  if (depth_ == 0) return true;
  return other.text_.starts_with(text_) &&
         (other.text_.size() == text_.size() || other.text_[text_.size()] == '/');
}

bool visible(const VirtualPath& path, const SessionPolicy& policy) {
  return policy.shared || path.area() != Area::shared;
}

bool allowed(Operation operation, const VirtualPath& path, const SessionPolicy& policy) {
  if (!visible(path, policy)) return false;
  const Area area = path.area();
  const std::size_t depth = path.depth();
  switch (operation) {
    case Operation::look:
      return true;
    case Operation::read:
      return area != Area::top;
    case Operation::write:
    case Operation::rename:
    case Operation::set_times_or_size:
      return depth >= 2 && (area == Area::incoming || area == Area::shared);
    case Operation::remove:
      return depth >= 2 &&
             (area == Area::incoming || area == Area::shared || area == Area::outgoing);
    case Operation::make_directory:
    case Operation::remove_directory:
      return (area == Area::shared && depth >= 2) ||
             (area == Area::incoming && depth >= 3 && policy.subfolders);
  }
  return false;
}

mode_t shown_mode(Area area, std::size_t depth, mode_t mode, const SessionPolicy& policy) {
  const bool directory = S_ISDIR(mode);
  const mode_t type = directory ? S_IFDIR : S_IFREG;
  switch (area) {
    case Area::top:
    case Area::archive:
      return type | (directory ? 0555 : 0444);
    case Area::outgoing:
      return type | (directory ? 0755 : 0444);
    case Area::incoming:
      return type | (directory ? (depth >= 1 ? 0755 : 0555) : 0644);
    case Area::shared:
      if (!policy.shared) return type;
      // The folder itself has the group's bits for the daemon's sake: no business of the partner's.
      return type | (depth <= 1 ? mode_t{0755} : (mode & 0777));
  }
  return type;
}

bool matches(std::string_view pattern, std::string_view name) {
  // Iterative with one place to come back to, so that no pattern is slow.
  std::size_t p = 0;
  std::size_t n = 0;
  std::size_t star = std::string_view::npos;
  std::size_t after_star = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after_star = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++after_star;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool is_not_ready(std::string_view name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [name](const std::string& pattern) { return matches(pattern, name); });
}

}  // namespace sallyport::sftp
