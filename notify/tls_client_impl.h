// TLS for the mail and webhook clients: always TLS 1.2 or later, always verified in full
// (authority, name, dates). Internal to notify/; keeps Poco's TLS headers out of the others.
//
// Thread-safe.
#pragma once

#include <Poco/Net/Context.h>

#include <string>

namespace sallyport::notify {

/// `ca_file` empty: the system's authorities. Throws Error when it cannot be read.
[[nodiscard]] Poco::Net::Context::Ptr make_client_context(const std::string& ca_file);

/// Why the last certificate seen by this thread was refused; empty if none was since
/// forget_refusal().
[[nodiscard]] std::string last_refusal();
void forget_refusal();

/// One sentence for a failed TLS handshake with `host`: the refusal above where there is one.
[[nodiscard]] std::string tls_failure(const std::string& host, const std::string& library_message);

/// Ill-timed writes to a closed TLS connection raise SIGPIPE, which OpenSSL offers no flag against:
/// held back on this thread for a scope.
class SigpipeGuard {
 public:
  SigpipeGuard();
  ~SigpipeGuard();
  SigpipeGuard(const SigpipeGuard&) = delete;
  SigpipeGuard& operator=(const SigpipeGuard&) = delete;

 private:
  bool blocked_here_ = false;
};

}  // namespace sallyport::notify
