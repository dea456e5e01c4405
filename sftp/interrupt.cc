#include "sftp/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>

namespace sallyport::sftp {
namespace {

volatile sig_atomic_t peer = -1;
volatile sig_atomic_t broker = -1;
volatile sig_atomic_t grace_over = 0;
volatile sig_atomic_t stopped = 0;
volatile sig_atomic_t daemon_gone = 0;
volatile sig_atomic_t sending = 0;

void on_signal(int number) {
  const int error = errno;
  if (number == SIGIO) {
    // Every answer of the daemon raises it too.
    pollfd entry{broker, 0, 0};
    if (::poll(&entry, 1, 0) == 1 && (entry.revents & POLLHUP) != 0) {
      daemon_gone = 1;
      if (sending != 0) ::shutdown(peer, SHUT_RDWR);
    }
  } else {
    if (number == SIGALRM) grace_over = 1;
    if (number == SIGTERM) stopped = 1;
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
  for (const int number : {SIGALRM, SIGTERM, SIGIO}) ::sigaction(number, &action, nullptr);
}

void set_grace(std::uint32_t seconds) {
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(seconds);
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

void watch_daemon(int broker_socket) {
  broker = broker_socket;
  ::fcntl(broker_socket, F_SETOWN, ::getpid());
  ::fcntl(broker_socket, F_SETFL, ::fcntl(broker_socket, F_GETFL) | O_ASYNC);
  // It may have hung up just before.
  pollfd entry{broker_socket, 0, 0};
  if (::poll(&entry, 1, 0) == 1 && (entry.revents & POLLHUP) != 0) daemon_gone = 1;
}

bool grace_is_over() {
  return grace_over != 0;
}
bool told_to_stop() {
  return stopped != 0;
}

Sending::Sending() {
  sending = 1;
}
Sending::~Sending() {
  sending = 0;
}
bool Sending::good() const {
  return daemon_gone == 0;
}

}  // namespace sallyport::sftp
