// The inside of BrokerServer: connections and the work on their messages. Private to
// daemon/partners/broker_*.cc.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "daemon/config/options.h"
#include "daemon/partners/audit_writer.h"
#include "daemon/partners/broker_server.h"
#include "daemon/partners/login.h"
#include "daemon/partners/password.h"
#include "daemon/partners/refusal_rows.h"
#include "daemon/partners/taken_files.h"
#include "daemon/partners/usage_table.h"
#include "daemon/partners/worker_pool.h"

namespace sallyport::daemon {

/// One connection of the front. The descriptor is closed when the last job that answers on it has
/// ended. All but `fd`, `inflight` and what says so is under the server's mutex.
struct BrokerConnection {
  base::UniqueFd fd;
  // Of the thread that leads alone:
  std::uint64_t received = 0;           ///< messages, by `fd`
  std::optional<sftp::Received> early;  ///< an event; what was sent before it has not come yet
  std::atomic<unsigned> inflight{0};
  std::uint32_t process = 0;  ///< at the far end
  bool control = false;
  bool greeted = false;
  bool ending = false;  ///< told to go: what it still asks is ignored, but not what it reports
  bool gone = false;    ///< cut off, or at its end: nothing more is heard
  std::atomic<bool> cut_off{false};  ///< by us: its process may live on for a while
  bool paused = false;               ///< too much under way: not read for a while
  /// What has come and waits for what came before it: a file is renamed after its upload, in the
  /// journal, too. `working` while somebody is at them.
  std::deque<std::function<void()>> jobs;
  bool working = false;
  sftp::SessionHello hello;
  // Until a login: the last key that was offered and refused without a signature, and why.
  std::string offered_key;
  std::string refused_reason;
  bool given_up = false;      ///< its session has told so, which it does once
  bool failure_told = false;  ///< a refusal of this connection is in the store already
  // After a login:
  bool logged_in = false;
  SessionPeer peer;
  base::UniqueFd events;  ///< our end of the socket of events, if there is one
  std::string session_id;
  PartnerPolicy policy;
  // Queries of what it holds, by number; `usage_again`: one more when the last is answered.
  std::uint32_t usage_asked = 0;
  std::uint32_t usage_answered = 0;
  bool usage_again = false;
  // What it was let in for: whether that still holds is looked at again.
  LoginAttempt attempt;
  std::string password_hash;
  base::Instant since{};
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
};
using ConnectionPtr = std::shared_ptr<BrokerConnection>;

class BrokerServer::Impl {
  /// More than a socket of events holds.
  static constexpr unsigned all_events = 4000;
  /// No message has this number.
  static constexpr std::uint64_t no_message = std::numeric_limits<std::uint64_t>::max();

 public:
  explicit Impl(const BrokerParts& parts);
  ~Impl();

  void start();
  void stop();
  void end_sessions(std::string_view partner, std::string_view fingerprint,
                    const std::string& sentence);
  std::vector<Session> sessions();
  Front front();
  void send_limits();
  void review_sessions(const std::string& partner);

 private:
  // --- broker_loop.cc
  void run();
  /// Waits for events and handles them; false: the end.
  bool lead();
  void resume_paused();
  void accept_all();
  void read(const ConnectionPtr& connection);
  /// Handles at most `most` events that were sent before message number `before` of the connection,
  /// and takes them off `most`. True if there may be more of them.
  bool read_events(const ConnectionPtr& connection, std::uint64_t before, unsigned& most);
  void end_events(const ConnectionPtr& connection);
  /// Nobody leads any more: what sessions have said already is heard before their sockets close.
  void hear_out();
  /// Makes the socket of events of a session that is being let in.
  void offer_events(const ConnectionPtr& connection);
  /// dispatch(); one that fails ends the connection.
  void handle(const ConnectionPtr& connection, sftp::Envelope envelope);
  void on_events(const ConnectionPtr& connection);
  void watch_rested_events();
  /// Until a socket of events is watched again: what epoll_wait() is to wait at most.
  [[nodiscard]] int rest_ms() const;
  void closed(const ConnectionPtr& connection);
  /// Runs `job` after those of this connection that came before it, on a worker, or on this thread
  /// when it has handed the lead on; too many at once stop the reading of this connection.
  void in_background(const ConnectionPtr& connection, std::function<void()> job);
  void work_on(const ConnectionPtr& connection);
  void job_done(const ConnectionPtr& connection);
  void answer(const ConnectionPtr& connection, std::uint32_t id, const sftp::Message& message,
              int descriptor = -1);
  void poke() noexcept;

  // --- broker_server.cc: what is no login and no file
  void dispatch(const ConnectionPtr& connection, sftp::Envelope envelope);
  void on_hello(const ConnectionPtr& connection, sftp::SessionHello hello);
  void on_control(const ConnectionPtr& connection, const sftp::Message& message);
  [[nodiscard]] bool may_be_control(const ConnectionPtr& connection);
  /// Ends a connection that sent what an honest process of the front never sends.
  void out_of_order(const ConnectionPtr& connection, std::string_view what);
  void end_connection(BrokerConnection& connection, const std::string& sentence);
  void tell_ban(const store::Ban& ban);
  [[nodiscard]] sftp::FrontConfig front_config() const;
  [[nodiscard]] std::vector<sftp::Ban> real_time_bans();

  // --- broker_login.cc
  void on_login(const ConnectionPtr& connection, std::uint32_t id, sftp::LoginQuery query);
  void decide(const ConnectionPtr& connection, std::uint32_t id,
              const std::optional<store::Partner>& partner, const std::vector<store::SshKey>& keys,
              const LoginAttempt& attempt, const std::string& user, bool verified);
  void denied(const ConnectionPtr& connection, std::uint32_t id, const LoginAttempt& attempt,
              const std::string& user, const std::string& reason, bool counts);
  void audit_refusal(const sftp::SessionHello& hello, const std::string& user,
                     std::string fingerprint, const std::string& reason);
  void let_in(const ConnectionPtr& connection, std::uint32_t id, const store::Partner& partner,
              const LoginDecision& decision, const LoginAttempt& attempt);
  void on_failure(const ConnectionPtr& connection, const sftp::LoginFailure& failure);

  // --- broker_welcome.cc
  /// Ends those who would not be let in any more: of partners who were suspended or removed, whose
  /// key or password is another, or who may not come from that address now.
  void end_unwelcome(const std::vector<ConnectionPtr>& connections);
  void watch_other_nodes();
  /// Sees to it that a session's process leaves. Under the mutex.
  void see_out(const BrokerConnection& connection);
  void end_overdue();

  // --- broker_files.cc
  /// On the thread that reads, at once: when the peer has its OK, any session that is asked has to
  /// know, and the order of these is the order of CLOSE.
  void on_done(const ConnectionPtr& connection, const sftp::UploadDone& done);
  void on_event(const ConnectionPtr& connection, std::uint32_t id, const sftp::FileEvent& event);
  void on_taken(const ConnectionPtr& connection, std::uint32_t id, const sftp::TakenQuery& query);
  void on_usage(const ConnectionPtr& connection, std::uint32_t id, const sftp::UsageReport& report);
  [[nodiscard]] Usage measure(const std::string& partner);
  void hears_of_held(const ConnectionPtr& connection, const sftp::UsageReport& report);
  void ask_what_is_held(const std::string& partner, const BrokerConnection* freed_by,
                        const Usage& freed);
  [[nodiscard]] static bool has_quota(const BrokerConnection& connection);
  /// The number of the query whose answer tells of all until now. Under the mutex.
  [[nodiscard]] static std::uint32_t ask_of_usage(BrokerConnection& connection);
  void on_end(const ConnectionPtr& connection, const sftp::SessionEnd& end);
  /// What a session left behind becomes partials.
  void recover(const std::string& partner, const std::string& session_id, const SessionPeer& peer);
  /// The sessions that a daemon before this one may have left behind, by partner.
  [[nodiscard]] std::map<std::string, std::set<std::string>> left_sessions();
  void recover_left(std::map<std::string, std::set<std::string>> left);

  void audit(const BrokerConnection& connection, std::string event, std::string path,
             std::uint64_t bytes, std::uint64_t duration_ms, std::string detail);

  BrokerParts parts_;
  base::UniqueFd epoll_;
  base::UniqueFd poked_;
  base::UniqueFd listener_;
  std::string socket_path_;
  uid_t user_ = 0;  ///< of the front

  std::mutex mutex_;
  std::map<int, ConnectionPtr> connections_;
  std::map<int, ConnectionPtr> with_events_;  ///< by their sockets of events
  std::vector<ConnectionPtr> to_resume_;
  Front front_;
  bool stopping_ = false;
  std::condition_variable changed_;

  RefusalRows refusal_rows_;  ///< of the thread that leads
  TakenFiles taken_;
  UsageTable usage_;
  std::unique_ptr<AuditWriter> audit_;
  std::unique_ptr<WorkerPool> workers_;
  std::unique_ptr<PasswordQueue> passwords_;
  /// One of them waits for events at a time, and hands that on before it works on one itself: a
  /// message that has to be answered soon does not wait for another thread to wake up.
  std::vector<std::thread> loops_;
  std::mutex lead_;
  struct Rest {
    std::chrono::steady_clock::time_point until;
    ConnectionPtr connection;
  };
  /// Whose events were read just now, in order. Of the thread that leads.
  std::deque<Rest> resting_;
  std::atomic<unsigned> free_loops_{0};  ///< that lead, or wait to lead
  std::thread recovery_;
  struct Leaving {
    std::chrono::steady_clock::time_point until;
    std::uint32_t process = 0;
  };
  std::deque<Leaving> leaving_;  ///< in order
  std::thread overdue_;
  std::thread other_nodes_;  ///< where there can be any
};

/// Text of a stranger for a log line: printable, at most 64 characters, no quotes.
[[nodiscard]] std::string for_log(std::string_view text);

}  // namespace sallyport::daemon
