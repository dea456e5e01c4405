#include "sftp/interrupt.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>

namespace sallyport::sftp {
namespace {

volatile sig_atomic_t peer = -1;
volatile sig_atomic_t grace_over = 0;
volatile sig_atomic_t stopped = 0;
volatile sig_atomic_t in_a_call = 0;
volatile sig_atomic_t last_word = 0;

void start_timer(std::uint32_t seconds) {
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(seconds);
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

void on_signal(int number) {
  const int error = errno;
  if (number == SIGALRM && in_a_call != 0) ::_exit(1);
  if (number == SIGALRM) grace_over = 1;
  if (number == SIGTERM) stopped = 1;
  if (number == SIGALRM && last_word != 0) {
    start_timer(static_cast<std::uint32_t>(last_word));
    last_word = 0;
  } else {
    ::shutdown(peer, SHUT_RDWR);
  }
  errno = error;
}

}  // namespace

void catch_interrupts(int peer_socket) {
  peer = peer_socket;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGALRM, SIGTERM}) ::sigaction(number, &action, nullptr);
}

void set_grace(std::uint32_t seconds) {
  last_word = 0;
  start_timer(seconds);
}

void leave_time_for_a_last_word(std::uint32_t seconds) {
  last_word = static_cast<sig_atomic_t>(seconds);
}

void set_limit_of_a_call(std::uint32_t seconds) {
  in_a_call = seconds > 0 ? 1 : 0;
  set_grace(seconds);
}

bool grace_is_over() {
  return grace_over != 0;
}
bool told_to_stop() {
  return stopped != 0;
}

}  // namespace sallyport::sftp
