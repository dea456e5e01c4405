// A daemon for tests of the SFTP front: answers as the real one would, from a few settings, and
// remembers what it was told. One thread for each connection.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/c_handle.h"
#include "sftp/broker.h"

namespace sallyport::sftp::test {

class TestBroker {
 public:
  struct Settings {
    std::string socket;
    std::string partner_directory;
    FrontConfig front;
    SessionLimits limits;
    SessionPolicy policy;
    std::string user = "acme";
    std::string password = "correct horse battery";
    std::string key;  ///< wire blob that may log in; empty: any key
    bool key_and_password = false;
    bool keep_spooled = true;  ///< false: the pipeline takes the file at once
  };

  /// Makes tree/, staging/ and spool/ with the usual folders below partner_directory.
  explicit TestBroker(Settings settings);
  ~TestBroker();

  /// Waits until `ready`, which reads the log with the broker locked; false after 10 s.
  [[nodiscard]] bool wait_until(const std::function<bool()>& ready);
  /// Ends all sessions that have logged in.
  void end_sessions(const std::string& sentence);
  void ban(const std::string& network, std::int64_t until);

  // What it was told; read only inside wait_until() or when all clients are gone.
  std::vector<Message> log;
  std::map<std::string, UploadDone> uploads;  ///< those that are in the spool, by path
  Settings settings;

 private:
  void accept_all();
  void serve(int socket);
  void answer(int socket, const Envelope& envelope);
  void offer_events(int socket);
  LoginAnswer decide(const LoginQuery& query);

  base::UniqueFd listener_;
  base::UniqueFd directory_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, TakenAnswer> taken_;
  std::set<int> sessions_;
  std::set<int> controls_;
  std::set<int> all_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
  bool stopping_ = false;
};

}  // namespace sallyport::sftp::test
