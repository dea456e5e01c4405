#include "test_broker.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/bytes.h"

namespace sallyport::sftp::test {
namespace fs = std::filesystem;

TestBroker::TestBroker(Settings wanted) : settings(std::move(wanted)) {
  const fs::path root = settings.partner_directory;
  for (const char* name :
       {"staging", "spool", "tree/Incoming/Invoices", "tree/Outgoing/Orders",
        "tree/Archive/Incoming/Invoices", "tree/Archive/Failed/Invoices", "tree/Shared"}) {
    fs::create_directories(root / name);
  }
  directory_.reset(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  listener_ = listen_at(settings.socket);
  acceptor_ = std::thread([this] { accept_all(); });
}

TestBroker::~TestBroker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const int socket : all_) ::shutdown(socket, SHUT_RDWR);
  }
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
  ::unlink(settings.socket.c_str());
}

bool TestBroker::wait_until(const std::function<bool()>& ready) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(10), ready);
}

void TestBroker::end_sessions(const std::string& sentence) {
  const std::lock_guard lock(mutex_);
  for (const int socket : sessions_) {
    (void)send_message(socket, 0, SessionClose{sentence});
    ::shutdown(socket, SHUT_RDWR);
  }
}

void TestBroker::ban(const std::string& network, std::int64_t until) {
  const std::lock_guard lock(mutex_);
  for (const int socket : controls_)
    (void)send_message(socket, 0, BanUpdate{false, {{network, until}}});
}

void TestBroker::accept_all() {
  while (true) {
    pollfd entry{listener_.get(), POLLIN, 0};
    (void)::poll(&entry, 1, -1);
    const int socket = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    const std::lock_guard lock(mutex_);
    if (stopping_) {
      if (socket >= 0) ::close(socket);
      return;
    }
    if (socket < 0) continue;
    all_.insert(socket);
    threads_.emplace_back([this, socket] { serve(socket); });
  }
}

void TestBroker::serve(int socket) {
  while (true) {
    const Received received = receive_message(socket);
    if (received.what != Received::What::message) break;
    const std::lock_guard lock(mutex_);
    answer(socket, received.envelope);
    log.push_back(received.envelope.message);
    changed_.notify_all();
  }
  const std::lock_guard lock(mutex_);
  sessions_.erase(socket);
  controls_.erase(socket);
  all_.erase(socket);
  ::close(socket);
  changed_.notify_all();
}

// Under the mutex.
void TestBroker::offer_events(int socket) {
  int pair[2] = {-1, -1};
  if (stopping_ || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return;
  const base::UniqueFd theirs(pair[1]);
  all_.insert(pair[0]);
  threads_.emplace_back([this, ours = pair[0]] { serve(ours); });
  (void)send_message(socket, 0, EventsSocket{}, theirs.get());
}

LoginAnswer TestBroker::decide(const LoginQuery& query) {
  LoginAnswer answer;
  if (query.user != settings.user) return answer;
  const bool key_right = !query.key.empty() && (settings.key.empty() || query.key == settings.key);
  if (query.method == LoginMethod::key) {
    if (!key_right) return answer;
    answer.outcome = settings.key_and_password ? LoginOutcome::partial : LoginOutcome::allow;
  } else {
    if (query.password != settings.password) return answer;
    if (settings.key_and_password && query.proven_key.empty()) return answer;
    answer.outcome = LoginOutcome::allow;
  }
  answer.session_id = base::random_id();
  answer.uploader = R"({"address":"192.0.2.7"})";
  answer.partner = settings.user;
  answer.limits = settings.limits;
  answer.policy = settings.policy;
  return answer;
}

void TestBroker::answer(int socket, const Envelope& envelope) {
  const std::uint32_t id = envelope.id;
  if (std::get_if<ControlHello>(&envelope.message) != nullptr) {
    controls_.insert(socket);
    (void)send_message(socket, 0, settings.front);
    (void)send_message(socket, 0, BanUpdate{true, {}});
  } else if (const auto* login = std::get_if<LoginQuery>(&envelope.message)) {
    const LoginAnswer decision = decide(*login);
    const bool enters = decision.outcome == LoginOutcome::allow &&
                        (login->method == LoginMethod::password || login->signature_verified);
    if (enters) {
      sessions_.insert(socket);
      offer_events(socket);
    }
    (void)send_message(socket, id, decision, enters ? directory_.get() : -1);
  } else if (const auto* done = std::get_if<UploadDone>(&envelope.message)) {
    if (!done->in_spool) return;
    uploads[done->path] = *done;
    taken_[done->path] = {true, done->size, done->modified};
    if (!settings.keep_spooled) {
      ::unlinkat(directory_.get(), ("spool/" + done->file_id).c_str(), 0);
    }
  } else if (const auto* query = std::get_if<TakenQuery>(&envelope.message)) {
    if (query->used_up) taken_[query->path] = {true, query->size, query->set_modified};
    const auto it = taken_.find(query->path);
    if (it != taken_.end() && query->set_modified != 0) it->second.modified = query->set_modified;
    (void)send_message(socket, id, it == taken_.end() ? TakenAnswer{} : it->second);
  } else if (const auto* usage = std::get_if<UsageReport>(&envelope.message)) {
    SessionLimits& limits = settings.limits;
    const auto use = [](std::uint64_t& left, std::int64_t more) {
      if (left != unlimited) left -= static_cast<std::uint64_t>(more);
    };
    use(limits.quota_bytes_left, usage->bytes);
    use(limits.quota_files_left, usage->files);
    std::uint64_t held = 0;
    for (const HeldFile& file : usage->held) held += file.bytes;
    const auto beside = [](std::uint64_t left, std::uint64_t count) {
      return left == unlimited ? left : left - std::min(left, count);
    };
    UsageAnswer answer;
    answer.granted = usage->wanted_bytes <= beside(limits.quota_bytes_left, held) &&
                     usage->wanted_files <= beside(limits.quota_files_left, usage->held.size());
    if (answer.granted) {
      use(limits.quota_bytes_left, static_cast<std::int64_t>(usage->wanted_bytes));
      use(limits.quota_files_left, static_cast<std::int64_t>(usage->wanted_files));
    }
    answer.bytes_left = beside(limits.quota_bytes_left, held);
    answer.files_left = beside(limits.quota_files_left, usage->held.size());
    (void)send_message(socket, id, answer);
  } else if (id != 0) {
    (void)send_message(socket, id, Recorded{Status::ok, ""});
  }
}

}  // namespace sallyport::sftp::test
