// A secret in memory: move-only, wiped when it ends, and without any operator that prints it.
//
// Not thread-safe; one owner. reveal() is the one place where it becomes a plain view: grep for it
// when you audit.
#pragma once

#include <string>
#include <string_view>

namespace sallyport::base {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string&& value) noexcept;
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  [[nodiscard]] std::string_view reveal() const noexcept { return value_; }
  [[nodiscard]] bool empty() const noexcept { return value_.empty(); }
  [[nodiscard]] Secret clone() const;

 private:
  std::string value_;
};

/// Overwrites `text` so that the compiler cannot drop the writes, then empties it.
void wipe(std::string& text) noexcept;

/// A secret from a file, without its trailing newline: a systemd credential if `name` has no '/'
/// ($CREDENTIALS_DIRECTORY/name), else the path itself. Throws base::Error that names the file.
[[nodiscard]] Secret read_secret(const std::string& name);

}  // namespace sallyport::base
