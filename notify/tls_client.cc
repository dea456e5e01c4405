#include "notify/tls_client_impl.h"

#include <Poco/Delegate.h>
#include <Poco/Net/NetSSL.h>
#include <Poco/Net/SSLException.h>
#include <Poco/Net/SSLManager.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "notify/error.h"
#include "notify/escape.h"

namespace sallyport::notify {
namespace {

thread_local std::string refusal;

/// Poco tells why a certificate was refused only by this event; the exception says "verify failed".
struct RefusalListener {
  RefusalListener() {
    Poco::Net::initializeSSL();
    Poco::Net::SSLManager::instance().ClientVerificationError +=
        Poco::delegate(this, &RefusalListener::refused);
  }
  void refused(const void*, Poco::Net::VerificationErrorArgs& args) {
    refusal = clean_line(args.errorMessage(), 200);
  }
};

}  // namespace

Poco::Net::Context::Ptr make_client_context(const std::string& ca_file) {
  using Poco::Net::Context;
  // Never destroyed: TLS connections may end after static destructors have begun.
  static RefusalListener* const listener = new RefusalListener;
  (void)listener;
  if (!ca_file.empty() && ::access(ca_file.c_str(), R_OK) != 0)
    throw Error(
        fmt::format("cannot read the file of certificate authorities {}: check its path and "
                    "permissions",
                    ca_file));
  try {
    Context::Params params;
    params.caLocation = ca_file;
    params.loadDefaultCAs = ca_file.empty();
    params.verificationMode = Context::VERIFY_STRICT;
    params.verificationDepth = 9;
    params.cipherList = "HIGH:!aNULL:!MD5:!RC4:!3DES:@STRENGTH";
    Context::Ptr context = new Context(Context::TLS_CLIENT_USE, params);
    context->requireMinimumProtocol(Context::PROTO_TLSV1_2);
    return context;
  } catch (const Poco::Exception& e) {
    throw Error(fmt::format("cannot use the certificate authorities in {}: {}",
                            ca_file.empty() ? "the system's store" : ca_file,
                            clean_line(e.displayText())));
  }
}

std::string last_refusal() {
  return refusal;
}
void forget_refusal() {
  refusal.clear();
}

std::string tls_failure(const std::string& host, const std::string& library_message) {
  const std::string why = refusal.empty() ? clean_line(library_message, 300) : refusal;
  // Poco reports a certificate of another name as an "application verification failure".
  if (why.find("pplication verification failure") != std::string::npos ||
      why.find("nacceptable certificate") != std::string::npos)
    return fmt::format(
        "the certificate of {0} is not for the name {0}: correct the configured host "
        "name or the server's certificate",
        host);
  if (why.find("expired") != std::string::npos)
    return fmt::format("the certificate of {} was refused: {}. Have it renewed on the server", host,
                       why);
  if (!refusal.empty())
    return fmt::format(
        "the certificate of {} was refused: {}. If its authority is your own, "
        "configure that authority's CA file",
        host, why);
  return fmt::format("TLS with {} failed: {}", host, why);
}

SigpipeGuard::SigpipeGuard() {
  sigset_t pipe, before;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  if (pthread_sigmask(SIG_BLOCK, &pipe, &before) == 0)
    blocked_here_ = sigismember(&before, SIGPIPE) == 0;
}

SigpipeGuard::~SigpipeGuard() {
  if (!blocked_here_) return;
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  const timespec at_once{};
  sigtimedwait(&pipe, nullptr, &at_once);  // EAGAIN when none is pending: fine
  pthread_sigmask(SIG_UNBLOCK, &pipe, nullptr);
}

}  // namespace sallyport::notify
