// Interrupted work: an exception that says what to do. Expected outcomes (a bad login, a missing
// row) are values, not exceptions; each folder derives its own type that keeps the library's code.
#pragma once

#include <stdexcept>
#include <string>

namespace sallyport::base {

class Error : public std::runtime_error {
 public:
  /// One clear sentence for an operator: what failed, on what, and what to do.
  explicit Error(const std::string& sentence) : std::runtime_error(sentence) {}
};

/// A failed system call. what() is "<doing>: <strerror>".
class SystemError : public Error {
 public:
  SystemError(int error_number, const std::string& doing);
  [[nodiscard]] int code() const noexcept { return code_; }

 private:
  int code_;
};

}  // namespace sallyport::base
