#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/c_handle.h"
#include "base/error.h"

namespace sallyport::base {
namespace {

using Clock = std::chrono::steady_clock;

/// What a program has to put its things in order once it was asked to end.
constexpr std::chrono::seconds cancel_grace{2};

/// Descriptors are moved up here first, so that none is overwritten before it has been handed over.
constexpr int first_parked_fd = 256;

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Pipe make_pipe(const std::string& program) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw SystemError(errno, "make a pipe to " + program);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

UniqueFd park(int fd, const std::string& program) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, first_parked_fd));
  if (!copy) throw SystemError(errno, "pass a descriptor to " + program);
  return copy;
}

void set_nonblocking(int fd, const std::string& program) {
  if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
    throw SystemError(errno, "set up a pipe to " + program);
}

class SpawnPlan {
 public:
  explicit SpawnPlan(const std::string& program) : program_(program) {
    check(::posix_spawn_file_actions_init(&actions_));
    check(::posix_spawnattr_init(&attributes_));
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    check(::posix_spawnattr_setsigmask(&attributes_, &none));
    check(::posix_spawnattr_setsigdefault(&attributes_, &all));
    check(::posix_spawnattr_setpgroup(&attributes_, 0));
    check(::posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  void enter(const std::string& directory) {
    check(::posix_spawn_file_actions_addchdir_np(&actions_, directory.c_str()));
  }
  void give(int child, int ours) {
    parked_.push_back(park(ours, program_));
    check(::posix_spawn_file_actions_adddup2(&actions_, parked_.back().get(), child));
    given_.push_back(child);
  }
  pid_t spawn(const ProcessRequest& request) {
    for (const int fd : {0, 1, 2}) {
      if (std::find(given_.begin(), given_.end(), fd) == given_.end())
        check(::posix_spawn_file_actions_addopen(&actions_, fd, "/dev/null", O_RDWR, 0));
    }
    close_all_others();

    std::vector<char*> argv;
    std::vector<char*> environment;
    for (const std::string& text : request.argv) argv.push_back(const_cast<char*>(text.c_str()));
    for (const std::string& text : request.environment)
      environment.push_back(const_cast<char*>(text.c_str()));
    argv.push_back(nullptr);
    environment.push_back(nullptr);
    pid_t pid = 0;
    check(::posix_spawn(&pid, program_.c_str(), &actions_, &attributes_, argv.data(),
                        environment.data()));
    return pid;
  }

 private:
  /// Not everything in a process is opened close-on-exec, libraries' files least of all.
  void close_all_others() {
    int from = 3;
    std::sort(given_.begin(), given_.end());
    for (const int fd : given_) {
      for (; from < fd; ++from) check(::posix_spawn_file_actions_addclose(&actions_, from));
      from = std::max(from, fd + 1);
    }
    check(::posix_spawn_file_actions_addclosefrom_np(&actions_, from));
  }
  void check(int error) const {
    if (error != 0) throw SystemError(error, "start " + program_);
  }

  std::string program_;
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
  std::vector<UniqueFd> parked_;
  std::vector<int> given_;
};

/// The child and its pipes, from the spawn to the end of its process group.
class Child {
 public:
  Child(const ProcessRequest& request, ProcessResult& result)
      : request_(request), result_(result), program_(request.argv.at(0)) {
    result_.captured.resize(request_.captures.size());
    result_.capture_overflow.resize(request_.captures.size());

    SpawnPlan plan(program_);
    if (!request_.directory.empty()) plan.enter(request_.directory);
    for (const auto& descriptor : request_.descriptors)
      plan.give(descriptor.child, descriptor.ours);
    std::vector<UniqueFd> childs_ends;
    for (const auto& capture : request_.captures) {
      Pipe pipe = make_pipe(program_);
      set_nonblocking(pipe.read.get(), program_);
      plan.give(capture.child, pipe.write.get());
      outputs_.push_back(std::move(pipe.read));
      childs_ends.push_back(std::move(pipe.write));
    }
    if (request_.input) {
      Pipe pipe = make_pipe(program_);
      set_nonblocking(pipe.write.get(), program_);
      plan.give(0, pipe.read.get());
      input_ = std::move(pipe.write);
      childs_ends.push_back(std::move(pipe.read));
    }
    pid_ = plan.spawn(request_);
  }

  /// Kills and reaps if the work was interrupted by an exception.
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void run_to_end() {
    const UniqueFd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    if (!ended) throw SystemError(errno, "watch " + program_);
    const auto started = Clock::now();
    while (!wait_for_event(ended.get(), started)) {
    }
    // Not yet reaped, so the number of the group cannot have been given to another one.
    if (!request_.starts_daemon) ::kill(-pid_, SIGKILL);
    for (std::size_t i = 0; i < outputs_.size(); ++i) drain(i);
    reap();
  }

 private:
  /// True when the child has ended.
  bool wait_for_event(int ended, Clock::time_point started) {
    int timeout = -1;
    const auto deadline = kill_at_ || !request_.deadline ? kill_at_ : started + *request_.deadline;
    if (deadline && !killed_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now());
      if (left.count() <= 0) {
        killed_ = true;
        result_.timed_out = !result_.cancelled;
        ::kill(-pid_, SIGKILL);
      } else {
        timeout = static_cast<int>(std::min<std::int64_t>(left.count(), 3600'000));
      }
    }
    const bool may_cancel = request_.cancel >= 0 && !result_.cancelled && !killed_;
    const int cancel = may_cancel ? request_.cancel : -1;
    std::vector<pollfd> polled{
        {ended, POLLIN, 0}, {input_.get(), POLLOUT, 0}, {cancel, POLLIN | POLLRDHUP, 0}};
    for (const UniqueFd& output : outputs_) polled.push_back({output.get(), POLLIN, 0});
    if (::poll(polled.data(), polled.size(), timeout) < 0 && errno != EINTR)
      throw SystemError(errno, "watch " + program_);
    if (polled[1].revents != 0) write_input();
    if (polled[2].revents != 0) {
      result_.cancelled = true;
      kill_at_ = Clock::now() + cancel_grace;
      ::kill(-pid_, SIGTERM);
    }
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      if (polled[i + 3].revents != 0) (void)read_output(i);
    }
    return polled[0].revents != 0;
  }

  void write_input() {
    const std::string_view rest = request_.input->substr(written_);
    ssize_t count = 0;
    if (!rest.empty()) {
      count = write_without_sigpipe(rest);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
      // It would take what came until now for all, and be content.
      if (count < 0 && errno != EPIPE) throw SystemError(errno, "write to " + program_);
      if (count > 0) written_ += static_cast<std::size_t>(count);
    }
    // Everything is written, or nobody reads.
    if (count < 0 || written_ == request_.input->size()) input_.reset();
  }

  /// Pipes have no MSG_NOSIGNAL; the signal is blocked in this thread and taken off again.
  ssize_t write_without_sigpipe(std::string_view data) const {
    sigset_t pipe_signal;
    sigset_t before;
    ::sigemptyset(&pipe_signal);
    ::sigaddset(&pipe_signal, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    const ssize_t count = ::write(input_.get(), data.data(), data.size());
    const int error = errno;
    if (count < 0 && error == EPIPE && ::sigismember(&before, SIGPIPE) == 0) {
      const timespec at_once{};
      ::sigtimedwait(&pipe_signal, nullptr, &at_once);
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    errno = error;
    return count;
  }

  /// One piece of what is there; false if there is nothing now or any more.
  bool read_output(std::size_t index) {
    std::array<char, 16384> buffer;
    const ssize_t count = ::read(outputs_[index].get(), buffer.data(), buffer.size());
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (count < 0) throw SystemError(errno, "read from " + program_);
    if (count == 0) {
      outputs_[index].reset();
      return false;
    }
    std::string& captured = result_.captured[index];
    const auto size = static_cast<std::size_t>(count);
    const std::size_t taken = std::min(size, request_.captures[index].limit - captured.size());
    captured.append(buffer.data(), taken);
    if (taken < size) {
      result_.capture_overflow[index] = true;
      if (request_.captures[index].kills && pid_ > 0) ::kill(-pid_, SIGKILL);
    }
    return true;
  }

  /// What was left in the pipe by a group that is dead. Bounded: somebody who left the group may
  /// still be writing.
  void drain(std::size_t index) {
    constexpr int reads_of_the_largest_pipe = 64;
    for (int i = 0; outputs_[index] && i < reads_of_the_largest_pipe && read_output(index); ++i) {
    }
  }

  void reap() {
    int status = 0;
    rusage usage{};
    while (::wait4(pid_, &status, 0, &usage) < 0) {
      if (errno != EINTR) throw SystemError(errno, "wait for " + program_);
    }
    pid_ = 0;
    if (WIFEXITED(status)) result_.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result_.signal = WTERMSIG(status);
    const auto microseconds = [](const timeval& time) {
      return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
    };
    result_.cpu_time = microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
  }

  const ProcessRequest& request_;
  ProcessResult& result_;
  std::string program_;
  UniqueFd input_;
  std::vector<UniqueFd> outputs_;
  std::size_t written_ = 0;
  std::optional<Clock::time_point> kill_at_;  // set once it was asked to end
  bool killed_ = false;
  pid_t pid_ = 0;
};

}  // namespace

ProcessResult run_process(const ProcessRequest& request) {
  if (request.argv.empty()) throw Error("a program to run has no name: argv is empty");
  ProcessResult result;
  Child child(request, result);
  child.run_to_end();
  return result;
}

}  // namespace sallyport::base
