// The messages between the SFTP front and the daemon, over one unix socket (SOCK_SEQPACKET: one
// message a packet), and the front's side of the connection.
//
// The front has no store, no PGP and no mail: whatever needs one of them is a message. The socket's
// far end is the daemon, which checks the peer's user id (peer_user()) when it accepts and refuses
// anybody but the front's user. Both sides decode with decode(), which accepts exactly
// what encode() makes and nothing else: the front is the part that talks to strangers, so the
// daemon treats what it says as claims about one connection and never as paths of its own.
//
// Every packet has a request id. A message from the front with id 0 wants no answer. With another
// id the daemon sends exactly one answer with the same id, of the type that the comment on the
// message names. The daemon may answer later messages of a connection before earlier ones.
//
// CONTROL CONNECTION (one, of the front's small parent process)
//   front:  ControlHello, first; later RefusalCount now and then (id 0).
//   daemon: FrontConfig at once and after every reload; then BanUpdate with reset = true and what
//   is
//           banned now (may be several packets, only the first resets), later BanUpdate for every
//           ban and every lifted one. If the daemon goes away the front keeps what it has and
//           connects again every second.
//
// SESSION CONNECTION (one for each peer connection, made right after the peer's was accepted)
//   The session may stay silent for as long as the login grace; then
//   SessionHello (id 0), once the key exchange is done, then LoginQuery -> LoginAnswer until one is
//   allow or refuse; then the file messages. The daemon
//   - answers every LoginQuery in a time that does not depend on the reason: the same work (a dummy
//     yescrypt hash for passwords) and the same answer for users who do not exist, are suspended,
//     come from a forbidden address or have another key;
//   - counts a denied query as a failure of the address unless it is a key probe
//     (method = key, signature_verified = false), bans by sending BanUpdate on the control
//     connection, and slows an address down by LoginAnswer::delay_ms, which the session waits
//     before it tells the peer;
//   - writes a login as a login only when a query with method = password or signature_verified is
//     allowed: an allowed probe is not a login, and no descriptor goes with it (a descriptor goes
//     with allow for method = password, or method = key and signature_verified);
//   - ends a session (suspension, removed partner, shutdown) by SessionClose and then closing the
//     connection: the session polls it and leaves within 5 s, even in mid-transfer. One that is
//     still there then, or that has left its connection, is ended by its parent (EndProcess);
//   - on the end of a connection that was logged in: counts the partner's connections down, and
//     calls sftp::recover_staging() (sftp/recovery.h) with the session's id, so that what a killed
//     session was uploading appears as a partial. At its own start it calls it for all.
//
// THE DIRECTORY
//   The descriptor in LoginAnswer is of the partner's directory (O_PATH suffices), which holds
//   tree/ (what the partner sees as "/"), staging/ and spool/, all of one file system, made by the
//   daemon when the partner is created: mode 2770, group shared by both users. Below tree/ the
//   daemon makes Incoming/<Object>, Outgoing/<Object>, Archive/Incoming/<Object>,
//   Archive/Failed/<Object> and, by policy, Shared. Regular files of tree/Incoming:
//   is_partial(mode) (sftp/areas.h) tells a broken upload from a complete file that waits for its
//   ready name or its trigger; the daemon's sweep moves both to Failed when their time is over.
//
// AN UPLOAD into /Incoming
//   1. the session writes "a file of this name, size and SHA-256 is about to be spool/<file id>"
//      into its list of intents (sftp/intents.h), durably;
//   2. it fsyncs the staging file, renames it to spool/<file id>, fsyncs the spool: now whatever
//      happens the file is received, and all that is to be known of it is durable;
//   3. UploadDone (id 0) tells the daemon, and the peer gets OK. The daemon remembers the path as
//      taken for 60 s (TakenQuery), makes the file a row of the journal, several in one commit, and
//      starts the pipeline.
//   When step 2 fails, UploadDone says that spool/<file id> does not exist. An intent that the
//   daemon was not told of is resolved by it when the session has ended, or at its own start: if
//   spool/<file id> exists the file is whole and received, else the intent is dropped.
//
// THE SOCKET OF EVENTS
//   What a session only reports (FileEvent with id 0) goes over a second socket, which the daemon
//   makes and sends before it allows a login (EventsSocket). The daemon reads it now and then,
//   rather than be woken for each of a thousand small files a second; what is in it stays there
//   when the session is killed. The order of all messages is that of sending: an event says how
//   many messages the session had sent over the connection before it, and the daemon handles a
//   message of the connection after all events before it. When the socket is full, or there is
//   none, events go over the connection.
//
// encode and decode are pure and thread-safe. BrokerClient belongs to one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/c_handle.h"
#include "base/error.h"

namespace sallyport::sftp {

/// Goes up with every change of a message. Both programs come from one build, so a difference means
/// a half-done upgrade: the receiver closes the connection.
inline constexpr std::uint8_t broker_version = 7;
/// The longest packet. Names and paths of one SFTP request fit many times.
inline constexpr std::size_t broker_max_packet = 64 * 1024;
inline constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

// ---------------------------------------------------------------- control connection

struct HostKeyLine {
  std::string algorithm;    ///< "ssh-ed25519", "ssh-rsa"
  std::string sha256;       ///< "SHA256:..." as OpenSSH prints it
  std::string md5;          ///< "MD5:aa:bb:..."
  std::string public_line;  ///< "ssh-ed25519 AAAA...": for known_hosts, the host goes in front
  std::string sshfp;        ///< "4 2 0a1b...": for DNS, SHA-256 (RFC 4255, 6594, 7479)
  bool staged = false;      ///< of the second set, which is not offered yet
};

struct ControlHello {
  std::uint32_t process = 0;
  std::string program_version;
  std::vector<std::string> listening;  ///< "0.0.0.0:2222", "[::]:2222"
  std::vector<HostKeyLine> host_keys;  ///< for the partner sheet
};

struct FrontConfig {
  std::uint32_t login_grace_seconds = 30;
  std::uint32_t max_attempts = 6;
  std::uint32_t max_connections = 1000;
  std::uint32_t max_unauthenticated_per_address = 100;
  /// How long sessions may go on after SIGTERM before they are ended.
  std::uint32_t drain_seconds = 30;
  /// Shown before login; may be empty.
  std::string login_banner;
};

struct Ban {
  std::string network;     ///< an IPv4 address, or an IPv6 /64 as "2001:db8::/64"
  std::int64_t until = 0;  ///< Unix seconds; 0 lifts the ban
};
struct BanUpdate {
  bool reset = false;  ///< forget all others first
  std::vector<Ban> bans;
};

/// Connections that the parent closed without a session since the last message, or whose session
/// ended without a login.
struct RefusalCount {
  std::string network;
  /// "banned", "max_connections", "max_unauthenticated_per_address"; "no_login"
  std::string reason;
  std::uint32_t count = 0;
};

// ---------------------------------------------------------------- session connection: login

struct SessionHello {
  std::string address;  ///< "192.0.2.7", "2001:db8::1"; an IPv4-mapped address as IPv4
  std::uint16_t port = 0;
  std::string client_banner;  ///< "SSH-2.0-OpenSSH_9.2", as the peer sent it: any bytes
  std::string key_exchange;
  std::string cipher;
  std::string mac;
};

enum class LoginMethod : std::uint8_t { key = 1, password = 2 };

/// Answer: LoginAnswer.
struct LoginQuery {
  std::string user;
  LoginMethod method = LoginMethod::key;
  std::string key;                  ///< method = key: the public key as SSH wire blob
  bool signature_verified = false;  ///< method = key: false for a probe ("would this key do?")
  std::string password;             ///< method = password; wipe it after use
  /// The key that this connection has already proven for this very user (an earlier answer was
  /// partial); empty if none. auth = "key+password" is decided with it.
  std::string proven_key;
};

enum class LoginOutcome : std::uint8_t {
  deny = 1,
  partial = 2,  ///< right, and a password is needed too
  allow = 3,
  refuse = 4,  ///< who it is is proven, but a limit forbids the session; `sentence` says which
};

/// When a complete file of /Incoming with a ready name is taken (spec/gateway.md 4).
enum class Trigger : std::uint8_t { close = 1, rename = 2, marker = 3 };

struct SessionLimits {
  std::uint32_t handles = 100;
  std::uint32_t channels = 10;
  std::uint32_t idle_seconds = 1800;
  std::uint64_t max_file_bytes = unlimited;
  std::uint64_t bytes_per_second = unlimited;
  std::uint64_t quota_bytes_left = unlimited;
  std::uint64_t quota_files_left = unlimited;
};

struct SessionPolicy {
  bool read_only = false;  ///< nothing that changes anything, anywhere
  bool subfolders = false;
  bool shared = false;
  std::string start_directory = "/";
  Trigger trigger = Trigger::close;
  std::vector<std::string> not_ready_patterns;  ///< shell patterns with * and ? only
  /// How long a file that was taken is still shown.
  std::uint32_t taken_seconds = 60;
};

struct LoginAnswer {
  LoginOutcome outcome = LoginOutcome::deny;
  std::uint32_t delay_ms = 0;  ///< to be waited before the peer is told
  std::string sentence;        ///< refuse: for the peer
  // With allow only:
  std::string session_id;  ///< 26 characters a-z2-7, new for each login
  std::string uploader;    ///< who this is, in one line: the heading of its lists of intents
  std::string partner;
  SessionLimits limits;
  SessionPolicy policy;
};

/// Why the daemon ends a session, for the peer. The connection is closed after it.
struct SessionClose {
  std::string sentence;
};

// ---------------------------------------------------------------- session connection: files

enum class Status : std::uint8_t {
  ok = 1,
  refused = 2,  ///< will be refused again: `sentence` is for the peer
  failed = 3,   ///< now: the store is away, disk full; the peer may try again
};

/// What has become of an intent. No answer.
struct UploadDone {
  std::string file_id;
  std::string path;  ///< "/Incoming/Invoices/2026/a.pdf"
  std::uint64_t size = 0;
  base::Sha256 sha256{};
  std::uint64_t line = 0;  ///< of the session's list of intents, from 1
  bool in_spool = false;   ///< false: the move failed, and nothing is there
  std::uint64_t duration_ms = 0;
  std::int64_t modified = 0;  ///< Unix seconds, what STAT shows for the next minute
};
struct Recorded {
  Status status = Status::failed;
  std::string sentence;
};

/// Was this path taken in the last 60 s, by any session of the partner? Asked only where nothing of
/// that name is in /Incoming. `set_modified` other than 0: remember this time (SETSTAT). With
/// `used_up` it is from now on: a marker, which went with its file. Answer: TakenAnswer.
struct TakenQuery {
  std::string path;
  std::int64_t set_modified = 0;
  bool used_up = false;
  std::uint64_t size = 0;  ///< of what was used up
};
struct TakenAnswer {
  bool taken = false;
  std::uint64_t size = 0;
  std::int64_t modified = 0;
};

/// The quota: what this session has added (or, negative, freed) since its last report. The daemon
/// adds it to the partner's usage and answers UsageAnswer: what is left for all of the partner's
/// sessions. Sent before the session would exceed what it knows to be left, when a sixteenth of
/// that (64 MiB at most) is to be added or was freed, when it is asked to (UsageQuery), and at the
/// end. A sweep of the daemon may correct the usage at any time. What is taken into the spool goes
/// on counting until the daemon says otherwise.
struct HeldFile {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t bytes = 0;
};
struct UsageReport {
  std::int64_t bytes = 0;
  std::int64_t files = 0;
  /// To be added, too, if the quota has room for it; nothing is if it has not.
  std::uint64_t wanted_bytes = 0;
  std::uint64_t wanted_files = 0;
  /// What lost its name since this was told last. Other sessions are asked whether they hold it,
  /// and it counts until each has answered.
  std::uint64_t freed_bytes = 0;
  std::uint64_t freed_files = 0;
  std::uint32_t answers = 0;  ///< the last query that had come before `held` was made
  /// Files that this session has open and that have no name any more, whoever removed them: all of
  /// them now. They lie on the disk until they are closed, where no sweep sees them.
  std::vector<HeldFile> held{};
};
/// The daemon, unasked: something of the partner's was removed or replaced, which this session may
/// have open. It sends a UsageReport when it can.
struct UsageQuery {
  std::uint32_t number = 0;  ///< from 1, one more each time
};
struct UsageAnswer {
  std::uint64_t bytes_left = unlimited;
  std::uint64_t files_left = unlimited;
  bool granted = true;   ///< what was wanted is the session's
  bool settles = false;  ///< something was freed, and other sessions have not answered yet
};

enum class FileEventKind : std::uint8_t {
  upload = 1,    ///< a file of /Shared was written and closed
  download = 2,  ///< `complete` if every byte of the file was read; answered in /Outgoing
  remove = 3,    ///< answered in /Outgoing
  rename = 4,    ///< `target` is the new path
  make_directory = 5,
  remove_directory = 6,
  partial = 7,  ///< a broken or incomplete upload was left at `path`
  waiting = 8,  ///< a complete upload waits for its ready name or its trigger
  refused = 9,  ///< a limit or a permission; `detail` says which. At most 100 a session
};

/// For the activity log. With id != 0 (downloads and removals in /Outgoing) the answer is Recorded.
struct FileEvent {
  FileEventKind kind = FileEventKind::upload;
  std::string path;
  std::string target;
  std::string detail;
  std::uint64_t bytes = 0;
  std::uint64_t duration_ms = 0;
  bool complete = true;
  std::uint64_t after = 0;  ///< so many messages went over the connection before it
};

/// On the control connection: the session of this process was told to go, or has left its
/// connection, five seconds ago. If it is still there, the parent ends it.
struct EndProcess {
  std::uint32_t process = 0;
};

/// The daemon, with the session's end of the socket of events, before it allows the login.
struct EventsSocket {};

/// Something about a connection that is not one of the queries: a login that was given up
/// ("login_grace", "max_attempts", "bad_signature", "unknown_key_type", "disconnected").
/// "max_attempts" has been counted query by query; "bad_signature" counts as a failure of the
/// address. No answer.
struct LoginFailure {
  std::string user;
  std::string reason;
};

/// The last message of a session that could say goodbye. No answer.
struct SessionEnd {
  std::string reason;  ///< "closed", "idle", "daemon", "error: ..."
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t files_received = 0;
  std::uint64_t files_sent = 0;
  std::uint64_t duration_ms = 0;
};

// ---------------------------------------------------------------- codec

/// The order of the alternatives is the type byte on the wire.
using Message = std::variant<ControlHello, FrontConfig, BanUpdate, RefusalCount, SessionHello,
                             LoginQuery, LoginAnswer, SessionClose, UploadDone, Recorded,
                             TakenQuery, TakenAnswer, UsageReport, UsageAnswer, FileEvent,
                             LoginFailure, SessionEnd, EventsSocket, EndProcess, UsageQuery>;

struct Envelope {
  std::uint32_t id = 0;
  Message message;
};

/// Throws BrokerError if the packet would be longer than broker_max_packet.
[[nodiscard]] std::string encode(std::uint32_t id, const Message& message);
/// nullopt for anything that encode() does not make: another version, unknown type or enumerator,
/// lengths beyond the packet, bytes left over.
[[nodiscard]] std::optional<Envelope> decode(std::string_view packet);

// ---------------------------------------------------------------- transport

/// The connection is gone, or the other side sent what is not a message.
class BrokerError : public base::Error {
 public:
  using base::Error::Error;
};

struct Received {
  enum class What { message, nothing, closed, malformed };
  What what = What::nothing;
  Envelope envelope;
  base::UniqueFd descriptor;  ///< what came by SCM_RIGHTS, if anything
};

/// Sends one packet, with `descriptor` by SCM_RIGHTS unless it is -1. False if the connection is
/// gone, or if the socket is non-blocking and full. Retries EINTR; never raises SIGPIPE. For both
/// sides.
[[nodiscard]] bool send_message(int socket, std::uint32_t id, const Message& message,
                                int descriptor = -1);
/// Reads one packet, blocking if the socket is and `flags` (of recvmsg(2)) do not forbid it:
/// `nothing` means EAGAIN. More than one descriptor in a packet is malformed; all are closed. For
/// both sides.
[[nodiscard]] Received receive_message(int socket, int flags = 0);

/// A listening socket at `path`, mode 0660, replacing a stale socket but no other kind of file.
/// Throws SystemError.
[[nodiscard]] base::UniqueFd listen_at(const std::string& path);
/// The peer's user id (SO_PEERCRED); nullopt if the socket cannot tell.
[[nodiscard]] std::optional<uid_t> peer_user(int socket);
/// Of the process that connected; 0 if it is not known.
[[nodiscard]] std::uint32_t peer_process(int socket);

/// The front's end of a connection.
class BrokerClient {
 public:
  /// Throws base::SystemError when nobody listens at `path`, or takes connections: at once, as the
  /// front has partners to serve meanwhile.
  explicit BrokerClient(const std::string& path);
  explicit BrokerClient(base::UniqueFd connected) : socket_(std::move(connected)) {}

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  /// Sends without waiting for an answer. Throws BrokerError when the daemon is gone.
  void send(const Message& message) { post(0, message); }
  /// For what wants no answer and no haste: kept until send_reports(), so that who waits for an
  /// answer of ours gets it first, or until anything else is sent. A session that is killed before
  /// takes it with it; what was sent is the daemon's. Throws BrokerError when the daemon is gone.
  void report(FileEvent event);
  void send_reports();
  /// Sends and returns the id to wait for: several may be under way.
  [[nodiscard]] std::uint32_t start(const Message& message);
  /// Waits for the answer to `id`. Throws BrokerError when the daemon is gone, ends the session,
  /// answers with something else or does not answer in time.
  [[nodiscard]] Received finish(std::uint32_t id, std::chrono::milliseconds deadline);
  template <class Answer>
  [[nodiscard]] Answer finish_as(std::uint32_t id, std::chrono::milliseconds deadline) {
    Received received = finish(id, deadline);
    if (auto* answer = std::get_if<Answer>(&received.envelope.message)) return std::move(*answer);
    throw BrokerError(
        "The daemon answered with a message of another type; both programs must come from one "
        "build.");
  }
  template <class Answer>
  [[nodiscard]] Answer ask(const Message& message, std::chrono::milliseconds deadline) {
    return finish_as<Answer>(start(message), deadline);
  }
  /// Takes what has come without waiting. True if the daemon has ended this connection;
  /// end_sentence() then says why, if it did.
  [[nodiscard]] bool ended();
  [[nodiscard]] const std::string& end_sentence() const noexcept { return end_sentence_; }
  /// The number of the last UsageQuery; 0: none has come.
  [[nodiscard]] std::uint32_t usage_query() const noexcept { return usage_query_; }

 private:
  void post(std::uint32_t id, const Message& message);
  void send_now(std::uint32_t id, const Message& message);
  bool accept_unasked(Received& received);

  base::UniqueFd socket_;
  base::UniqueFd events_;           ///< once the daemon has sent it
  std::vector<FileEvent> reports_;  ///< a few, not sent yet
  std::uint64_t posted_ = 0;
  std::uint32_t next_id_ = 1;
  bool ended_ = false;
  std::uint32_t usage_query_ = 0;
  std::string end_sentence_;
  std::vector<Received> early_;  ///< answers that came while another was waited for
};

}  // namespace sallyport::sftp
