// One SFTP channel of a partner who has logged in: requests in, replies out. Knows nothing of SSH;
// it is handed the bytes of a channel and leaves its answers in replies(), so that tests drive it
// without a network.
//
// What the channels of a connection share (tree, broker, limits) is in SessionContext, which
// outlives them. One thread. Requests that fail are answered; BrokerError comes out when the daemon
// is gone or has ended the session, and then the connection is over.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sftp/account.h"
#include "sftp/areas.h"
#include "sftp/broker.h"
#include "sftp/intents.h"
#include "sftp/packet.h"
#include "sftp/staging.h"
#include "sftp/tree.h"

namespace sallyport::sftp {

/// Files taken from /Incoming by this very session a short while ago: most questions about them
/// need not go to the daemon.
class TakenFiles {
 public:
  struct Taken {
    std::uint64_t size = 0;
    std::int64_t modified = 0;
    std::chrono::steady_clock::time_point until;
  };

  explicit TakenFiles(std::chrono::seconds memory) : memory_(memory) {}
  void add(const std::string& path, std::uint64_t size, std::int64_t modified);
  [[nodiscard]] Taken* find(const std::string& path);

 private:
  void forget_old();

  std::chrono::seconds memory_;
  std::map<std::string, Taken, std::less<>> taken_;
};

struct Counters {
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t files_received = 0;
  std::uint64_t files_sent = 0;
};

struct SessionContext {
  /// `hash_thread` may be null; it outlives the context.
  SessionContext(BrokerClient& broker_client, base::UniqueFd partner_directory, LoginAnswer answer,
                 HashThread* hash_thread = nullptr)
      : broker(broker_client),
        login(std::move(answer)),
        tree(std::move(partner_directory)),
        staging(tree, login.session_id, hash_thread),
        intents(tree.staging(), login.session_id, login.uploader),
        quota(broker, login.limits),
        throttle(login.limits.bytes_per_second),
        taken(std::chrono::seconds(login.policy.taken_seconds)) {}

  /// What nobody waits for: to be called once answers are on their way.
  void after_answers() {
    broker.send_reports();
    closing.clear();
    if (quota.owes_report()) quota.report();
  }

  BrokerClient& broker;
  /// Called inside an answer that will never end: tells all that is to be told, and does not
  /// return.
  std::function<void()> leave;
  /// Asked during work that goes on for long without a word from the peer. May be empty.
  std::function<bool()> peer_gone;
  LoginAnswer login;
  Tree tree;
  Staging staging;
  IntentList intents;
  Quota quota;
  Throttle throttle;
  TakenFiles taken;
  Counters counters;
  std::vector<base::UniqueFd> closing;  ///< a few files that are done with
  std::uint32_t open_handles = 0;
  std::uint32_t refusals_told = 0;
};

class Session {
 public:
  explicit Session(SessionContext& context);
  /// What was being uploaded becomes partials.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Handles the requests that lie complete in `stream` and returns how many bytes that were. Stops
  /// early when it has to be held back.
  [[nodiscard]] std::size_t consume(std::span<const std::uint8_t> stream);
  /// True if the last consume() did, or had nothing left to look at but would have.
  [[nodiscard]] bool stopped_early() const { return stopped_early_; }
  /// True after a packet that cannot be answered: the channel has to be closed.
  [[nodiscard]] bool broken() const { return broken_; }
  /// True while requests must wait: enough replies lie here to be sent, or the bandwidth is used
  /// up.
  [[nodiscard]] bool held_back() const {
    return replies_.size() >= enough_replies || context_.throttle.exhausted();
  }
  [[nodiscard]] ReplyBuffer& replies() { return replies_; }
  [[nodiscard]] const ReplyBuffer& replies() const { return replies_; }
  /// The peer is gone or done: closes all handles, with what that means for uploads.
  void finish();
  /// What the quota does not find on the disk, for it has no name; each file once.
  using Files = std::set<std::pair<dev_t, ino_t>>;
  void add_held(std::vector<HeldFile>& held, Files& seen) const;

 private:
  static constexpr std::size_t enough_replies = 512 * 1024;

  struct Handle {
    enum class Kind { none, file, upload, directory };
    Kind kind = Kind::none;
    std::uint32_t generation = 0;
    VirtualPath path;
    base::UniqueFd fd;
    std::unique_ptr<Upload> upload;
    std::unique_ptr<DirectoryStream> directory;
    bool readable = false;
    bool writable = false;
    bool append = false;
    std::uint64_t size = 0;  ///< of a file that is written: as the quota knows it
    bool nameless = false;   ///< counted by what is held, as it was when the size was learned
    Ranges read;             ///< of a file of /Outgoing: a download is full if it covers all
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes_written = 0;
    std::chrono::steady_clock::time_point opened;

    [[nodiscard]] int descriptor() const {
      return upload ? upload->fd.get() : directory ? directory->descriptor() : fd.get();
    }
    [[nodiscard]] std::uint64_t& length() { return upload ? upload->size : size; }
  };

  /// A request while it is handled.
  struct Request {
    std::uint32_t id = 0;
    PacketReader reader;
  };
  struct Handler {
    Type type;
    bool writes;
    void (Session::*handle)(Request&);
  };
  struct Extension {
    std::string_view name;
    bool writes;
    void (Session::*handle)(Request&);
  };
  static const Handler handlers[];
  static const Extension extensions[];

  // session.cc: dispatch and what all handlers use
  void look_at_daemon();
  void dispatch(Type type, std::span<const std::uint8_t> body);
  void extended(Request& request);
  void reply(Request& request, Code code, std::string_view message = {});
  void reply_errno(Request& request, int error);
  void refuse(Request& request, const VirtualPath& path, std::string_view why);
  /// The path of a request; nullopt if the request has been answered because it is bad or hidden.
  [[nodiscard]] std::optional<VirtualPath> path_of(Request& request);
  /// The permission check, with its answer.
  [[nodiscard]] bool permit(Request& request, Operation operation, const VirtualPath& path);
  [[nodiscard]] Handle* handle_of(Request& request);
  [[nodiscard]] Handle* new_handle(Request& request, Handle::Kind kind, const VirtualPath& path);
  void reply_handle(Request& request, const Handle& handle);
  void release(Handle& handle);
  /// An open file that was removed or replaced; `status` is its then.
  [[nodiscard]] static bool nameless(const Handle& handle, struct stat& status);
  [[nodiscard]] Attributes shown(const VirtualPath& path, std::size_t depth,
                                 const struct stat& status) const;
  void tell(FileEventKind kind, const VirtualPath& path, std::uint64_t bytes = 0,
            std::uint64_t duration_ms = 0, std::string detail = {}, std::string target = {},
            bool complete = true);
  /// For /Outgoing: the event must be recorded before the partner gets OK.
  [[nodiscard]] bool record(FileEvent event);

  // session_files.cc
  void open(Request& request);
  void open_existing_or_new(Request& request, const VirtualPath& path, std::uint32_t flags,
                            const Attributes& wanted);
  void open_upload(Request& request, const VirtualPath& path, std::uint32_t flags);
  void close(Request& request);
  void read(Request& request);
  void write(Request& request);
  [[nodiscard]] Code write_at(Handle& handle, std::uint64_t offset,
                              std::span<const std::uint8_t> data, std::string_view& why);
  [[nodiscard]] Code write_piece(Handle& handle, std::uint64_t offset,
                                 std::span<const std::uint8_t> data, std::string_view& why);
  /// Of a file of /Shared, which other handles and sessions change, too: what the quota has to
  /// count from. An upload has its file to itself.
  [[nodiscard]] bool learn_size(Handle& handle);
  [[nodiscard]] bool resize(Handle& handle, std::uint64_t size, std::string_view& why);
  void fsync(Request& request);
  void copy_data(Request& request);
  void close_file(Request& request, Handle& handle);

  // session_uploads.cc: what CLOSE and RENAME mean in /Incoming
  void close_upload(Request& request, Handle& handle);
  /// SETSTAT with a size, of a file that nobody uploads now.
  void resize_waiting(Request& request, const VirtualPath& path, const Attributes& wanted);
  void leave_partial(Upload& upload);
  /// Takes a complete upload. Ok, or what to tell the peer.
  struct Outcome {
    Code code = Code::ok;
    std::string message;
  };
  [[nodiscard]] Outcome finish_upload(std::unique_ptr<Upload>& upload);
  [[nodiscard]] Outcome take(std::unique_ptr<Upload>& upload);
  [[nodiscard]] Outcome take_from_tree(const VirtualPath& path, const VirtualPath& as);
  [[nodiscard]] Outcome appeared(const VirtualPath& path);
  void use_up(const VirtualPath& marker, const struct stat& status);
  [[nodiscard]] bool ready(const VirtualPath& path) const;
  /// Whose marker this would be, where there are any.
  [[nodiscard]] std::optional<VirtualPath> data_of_marker(const VirtualPath& path) const;
  [[nodiscard]] std::optional<TakenFiles::Taken> taken(const VirtualPath& path,
                                                       std::int64_t set_modified = 0);
  [[nodiscard]] Handle* upload_under_way(const VirtualPath& path);
  void rename_incoming(Request& request, const VirtualPath& from, const VirtualPath& to,
                       bool replace);
  void abandon(Handle& handle);

  // session_names.cc
  void stat(Request& request);
  void fstat(Request& request);
  void setstat(Request& request);
  /// For the audit.
  [[nodiscard]] static std::string resized_to(std::uint64_t size) {
    return "set to " + std::to_string(size) + " bytes";
  }
  /// If any are given. False with errno set.
  [[nodiscard]] static bool set_times(int file, const Attributes& wanted);
  void fsetstat(Request& request);
  void opendir(Request& request);
  void readdir(Request& request);
  void remove(Request& request);
  void mkdir(Request& request);
  void rmdir(Request& request);
  void realpath(Request& request);
  void rename(Request& request);
  void posix_rename(Request& request);
  void rename_to(Request& request, bool replace);
  void no_links(Request& request);
  void statvfs(Request& request);
  void fstatvfs(Request& request);
  void reply_statvfs(Request& request);
  void limits(Request& request);
  void expand_path(Request& request);
  void home_directory(Request& request);
  void users_groups_by_id(Request& request);

  SessionContext& context_;
  ReplyBuffer replies_;
  std::vector<std::unique_ptr<Handle>> handles_;
  std::uint32_t requests_ = 0;
  std::chrono::steady_clock::time_point next_look_;
  bool initialised_ = false;
  bool broken_ = false;
  bool stopped_early_ = false;
};

}  // namespace sallyport::sftp
