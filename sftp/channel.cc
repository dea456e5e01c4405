#include "sftp/channel.h"

#include <libssh/server.h>
#include <sys/mman.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string_view>

#include "sftp/interrupt.h"

namespace sallyport::sftp {
namespace {

// libssh offers 1.28 MB, which is a crawl at long distance: 100 MiB at 100 ms took 18 s against 2.3
// s with the widest here. A peer can make us hold no more than this for it, whatever it sends.
constexpr std::uint32_t usual_window = 1'280'000;
constexpr std::uint32_t widest_window = 16 * 1024 * 1024;
// A window is what a line of this speed holds in one round trip, and no wider: OpenSSH's client
// (9.2) buffers a whole window when we are the slower side, in steps of 32 KiB and with a copy of
// all of it each: with 16 MiB a local upload took 2.5 s longer.
constexpr std::uint64_t line_bytes_per_ms = widest_window / 100;
// Round trips are seen while a client waits for each answer; the first data ends that.
constexpr std::uint64_t last_sample_at = 16 * 1024;

// A client on the same machine whose every word wakes us shares its processor with us at each of
// them. While a window's worth lies before it, it is left alone: 1 GiB comes a tenth sooner then,
// and costs the client a tenth less (tests/bench/sftp_bench). When it tells that it has taken
// something, it has half a window to go at least, and it takes no more than so many bytes in a
// microsecond.
constexpr std::uint32_t fastest_peer = 1500;
constexpr std::chrono::microseconds worth_a_pause{250};
constexpr std::chrono::microseconds longest_pause{1000};

constexpr std::uint32_t first_write_seconds = 2;

// Where ssh_channel_read_timeout() puts what it has: as large as the window, touched only as far as
// something comes. One for all channels of the process.
std::uint8_t* read_area() {
  static std::uint8_t* const area = [] {
    void* memory = ::mmap(nullptr, widest_window, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : static_cast<std::uint8_t*>(memory);
  }();
  return area;
}

// libssh cuts answers into pieces of what the peer takes at once, less ten bytes: who takes ten
// gets pieces of nothing, for ever, and only the log knows.
class FirstAnswer {
 public:
  explicit FirstAnswer(const std::function<void()>& leave) : leave_(leave) {
    ssh_set_log_userdata(this);
    ssh_set_log_callback([](int, const char*, const char* line, void* self) {
      if (self == nullptr || !std::string_view(line).ends_with(piece_of_nothing)) return;
      const auto& never_ends = static_cast<FirstAnswer*>(self)->leave_;
      if (never_ends) never_ends();
    });
    ssh_set_log_level(SSH_LOG_PACKET);
    set_limit_of_a_call(first_write_seconds);
  }
  ~FirstAnswer() {
    set_limit_of_a_call(0);
    ssh_set_log_level(SSH_LOG_NOLOG);
    ssh_set_log_userdata(nullptr);
  }
  FirstAnswer(const FirstAnswer&) = delete;
  FirstAnswer& operator=(const FirstAnswer&) = delete;

 private:
  static constexpr std::string_view piece_of_nothing = "ssh_channel_write wrote 0 bytes";
  const std::function<void()>& leave_;
};

}  // namespace

bool output_waits(ssh_session session) {
  return (static_cast<unsigned>(ssh_get_status(session)) & SSH_WRITE_PENDING) != 0;
}

Channel::Channel(ssh_channel channel, SessionContext& context, Activity& activity)
    : channel_(channel), context_(context), activity_(activity), window_(usual_window) {
  callbacks_.userdata = this;
  callbacks_.channel_data_function = [](ssh_session, ssh_channel, void* data, std::uint32_t length,
                                        int is_stderr, void* self) {
    if (is_stderr != 0) return static_cast<int>(length);  // nothing we know of
    return static_cast<int>(
        static_cast<Channel*>(self)->on_data({static_cast<const std::uint8_t*>(data), length}));
  };
  callbacks_.channel_eof_function = [](ssh_session, ssh_channel, void* self) {
    static_cast<Channel*>(self)->on_end();
  };
  callbacks_.channel_close_function = [](ssh_session, ssh_channel, void* self) {
    static_cast<Channel*>(self)->on_close();
  };
  callbacks_.channel_subsystem_request_function = [](ssh_session, ssh_channel, const char* name,
                                                     void* self) {
    return static_cast<Channel*>(self)->on_subsystem(name);
  };
  // Everything that is not the sftp subsystem is refused; what has no callback would be, too, but a
  // newer libssh may come with other defaults.
  callbacks_.channel_pty_request_function = [](ssh_session, ssh_channel, const char*, int, int, int,
                                               int, void*) { return -1; };
  callbacks_.channel_shell_request_function = [](ssh_session, ssh_channel, void*) { return 1; };
  callbacks_.channel_exec_request_function = [](ssh_session, ssh_channel, const char*, void*) {
    return 1;
  };
  callbacks_.channel_env_request_function = [](ssh_session, ssh_channel, const char*, const char*,
                                               void*) { return 1; };
  ssh_callbacks_init(&callbacks_);
  ssh_set_channel_callbacks(channel_, &callbacks_);
}

Channel::~Channel() {
  ssh_remove_channel_callbacks(channel_, &callbacks_);
  ssh_channel_free(channel_);
}

int Channel::on_subsystem(std::string_view name) {
  if (name != "sftp" || session_) return 1;
  session_.emplace(context_);
  activity_.seen = true;
  return 0;
}

void Channel::on_end() {
  peer_done_ = true;
}

void Channel::on_close() {
  peer_done_ = peer_closed_ = true;
}

std::uint32_t Channel::on_data(std::span<const std::uint8_t> data) {
  activity_.seen = true;
  time_round_trip(data.size());
  // libssh takes what comes, within the window or not.
  if (data.size() > 2 * static_cast<std::size_t>(window_) + usual_window) activity_.flooded = true;
  if (!session_ || closing_ || activity_.failed) return static_cast<std::uint32_t>(data.size());
  try {
    const std::size_t taken = complete_carry(data);
    // What is left in libssh's buffer counts against the window: that is how a peer is stopped that
    // does not take its replies, or has used up its bandwidth.
    left_behind_ = taken < data.size();
    if (!carry_.empty()) return static_cast<std::uint32_t>(taken);
    const std::size_t consumed = session_->consume(data.subspan(taken));
    left_behind_ = session_->stopped_early();
    received_since_widening_ += taken + consumed;
    return static_cast<std::uint32_t>(taken + consumed);
  } catch (const std::exception&) {
    activity_.failed = true;
    return static_cast<std::uint32_t>(data.size());
  }
}

bool Channel::consume_carry() {
  held_ = false;
  if (carry_.empty()) return false;
  const std::size_t consumed = session_->consume(carry_);
  held_ = session_->stopped_early();
  carry_.erase(carry_.begin(), carry_.begin() + static_cast<std::ptrdiff_t>(consumed));
  if (carry_.empty()) carry_.shrink_to_fit();
  return consumed > 0;
}

// No new data need come for what waits in the carry, or in libssh behind it.
bool Channel::go_on() {
  bool did = consume_carry();
  if (!left_behind_ || held_ || session_->held_back() || session_->broken()) return did;
  // All of it as a rule: libssh offers a new window after each look, whatever it still holds.
  left_behind_ = take_buffered(usual_window);
  did = consume_carry() || did;
  return did || left_behind_;
}

// Adds to the carry what its last packet lacks, and no more: what follows is handled where it lies.
std::size_t Channel::complete_carry(std::span<const std::uint8_t> data) {
  std::size_t taken = 0;
  (void)consume_carry();
  while (!carry_.empty() && !held_ && !session_->broken() && taken < data.size()) {
    const std::size_t count = std::min(missing_bytes(carry_), data.size() - taken);
    const auto piece = data.subspan(taken, count);
    carry_.insert(carry_.end(), piece.begin(), piece.end());
    taken += count;
    (void)consume_carry();
  }
  return taken;
}

// Takes what libssh holds because requests were held back, or because a packet is incomplete. True
// if it may hold more.
bool Channel::take_buffered(std::uint32_t most) {
  std::uint8_t* area = read_area();
  if (area == nullptr) return false;
  const int count = ssh_channel_read_timeout(channel_, area, most, 0, 0);
  if (count <= 0) return false;
  carry_.insert(carry_.end(), area, area + count);
  received_since_widening_ += static_cast<std::uint64_t>(count);
  return static_cast<std::uint32_t>(count) == most;
}

void Channel::time_round_trip(std::size_t received) {
  if (received_ >= last_sample_at) return;
  received_ += received;
  const auto now = std::chrono::steady_clock::now();
  if (answered_) round_trip_ = std::min(round_trip_, now - *answered_);
  answered_.reset();
  if (received_ < last_sample_at || round_trip_ > std::chrono::hours{1}) return;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(round_trip_).count();
  window_ = static_cast<std::uint32_t>(
      std::min(std::clamp<std::uint64_t>(static_cast<std::uint64_t>(ms) * line_bytes_per_ms,
                                         usual_window, widest_window),
               context_.throttle.bytes_in(std::chrono::milliseconds{ms}, usual_window)));
}

// Asking for more than the window holds makes libssh widen it.
void Channel::widen_window() {
  if (window_ == usual_window || received_since_widening_ < window_ / 4 || left_behind_) return;
  received_since_widening_ = 0;
  (void)take_buffered(window_);
}

bool Channel::send() {
  if (peer_closed_) {
    sending_.clear();
    sent_ = 0;
    session_->replies().clear();
    return false;
  }
  if (sent_ == sending_.size()) {
    sending_.clear();
    sent_ = 0;
    if (session_->replies().empty()) return false;
    sending_.swap(session_->replies());
  }
  const std::uint32_t room = ssh_channel_window_size(channel_);
  peer_window_ = std::max(peer_window_, room);
  const std::size_t count = std::min<std::size_t>(room, sending_.size() - sent_);
  // What the socket has not taken libssh would put aside, without end.
  if (count == 0 || output_waits(ssh_channel_get_session(channel_))) return false;
  // A first answer takes no time. One that never ends must not take what was done with it.
  std::optional<FirstAnswer> first;
  if (!has_sent_) {
    context_.after_answers();
    first.emplace(context_.leave);
  }
  const int written =
      ssh_channel_write(channel_, sending_.data() + sent_, static_cast<std::uint32_t>(count));
  first.reset();
  has_sent_ = has_sent_ || written > 0;
  if (written < 0) {
    peer_done_ = true;
    sent_ = sending_.size();
    return false;
  }
  rekeying_ = written == 0;
  if (rekeying_) return false;
  sent_ += static_cast<std::size_t>(written);
  // Only who takes answers gets any: who downloads for long has asked for all of it before.
  activity_.seen = true;
  if (received_ < last_sample_at && drained()) answered_ = std::chrono::steady_clock::now();
  return true;
}

bool Channel::drained() const {
  return sent_ == sending_.size() && session_->replies().empty();
}

std::chrono::microseconds Channel::peer_is_busy_for() const {
  if (!session_ || closing_ || drained() || ssh_channel_window_size(channel_) > 0) return {};
  const std::chrono::microseconds time{peer_window_ / 2 / fastest_peer};
  return time < worth_a_pause ? std::chrono::microseconds{} : std::min(time, longest_pause);
}

bool Channel::pump() {
  if (!session_) {
    if (peer_done_ && !closing_) {
      closing_ = true;
      close();
    }
    return false;
  }
  if (closing_) return false;
  bool busy = send();
  busy = go_on() || busy;
  widen_window();
  if (session_->broken() || (peer_done_ && drained() && !busy && !left_behind_ && !held_)) {
    closing_ = true;
    session_->finish();
    if (ssh_channel_is_open(channel_)) {
      ssh_channel_request_send_exit_status(channel_, session_->broken() ? 1 : 0);
    }
    close();
    return false;
  }
  // Without room in the peer's window and in the socket there is nothing to do but to wait.
  return busy || (!drained() && !rekeying_ && ssh_channel_window_size(channel_) > 0 &&
                  !output_waits(ssh_channel_get_session(channel_)));
}

void Channel::close() {
  // The close would not follow an end that the socket has not taken yet.
  ssh_channel_send_eof(channel_);
  ssh_channel_close(channel_);
}

bool Channel::closed() const {
  return closing_ && peer_closed_;
}

void Channel::finish() {
  if (!session_) return;
  try {
    session_->finish();
  } catch (const std::exception&) {
    activity_.failed = true;
  }
}

}  // namespace sallyport::sftp
