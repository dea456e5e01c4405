// A gateway in a throw-away directory for tests of the file pipeline: SQLite, real gpg with our key
// and a partner's, the directories of one partner, and what the SFTP front does at the end of an
// upload. No threads: work() runs every step in the calling one.
#pragma once

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "daemon/files/check.h"
#include "daemon/files/context.h"
#include "daemon/files/inbound.h"
#include "daemon/files/journal.h"
#include "daemon/files/outbound.h"
#include "daemon/files/pipeline.h"
#include "sftp/intents.h"
#include "store/files.h"
#include "store/notices.h"
#include "store/partners.h"

namespace sallyport::daemon::test {

namespace fs = std::filesystem;

/// Removed at the end; its path is short enough for an agent's socket.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// Made once a program: keys take long.
struct Keys {
  TemporaryDirectory directory;
  std::unique_ptr<pgp::Engine> ours;
  std::unique_ptr<pgp::Engine> partners;
  std::unique_ptr<pgp::Engine> strangers;
  pgp::Key our_key;
  pgp::Key partner_key;
  pgp::Key stranger_key;
  std::string partner_public;

  static Keys& get();
};

/// Passes everything on to a real store, and fails the nth unit of work that writes, before it
/// happens or after it was committed.
class InterruptedStore final : public store::Store {
 public:
  explicit InterruptedStore(store::Store& inner) : inner_(inner) {}
  enum class When { before, after };
  /// 0: never.
  void interrupt(unsigned nth_write, When when) {
    countdown_ = nth_write;
    when_ = when;
    interrupted_ = false;
  }
  [[nodiscard]] bool interrupted() const { return interrupted_; }
  [[nodiscard]] store::Dialect dialect() const override { return inner_.dialect(); }
  void ping() override { inner_.ping(); }

 protected:
  void run(bool writes, const std::function<void(store::Unit&)>& work) override;

 private:
  store::Store& inner_;
  std::atomic<unsigned> countdown_{0};
  std::atomic<When> when_{When::before};
  std::atomic<bool> interrupted_{false};
};

class CountingWaker final : public Waker {
 public:
  void wake(std::string_view) noexcept override { ++count; }
  std::atomic<int> count{0};
};

class Gateway {
 public:
  explicit Gateway(const std::function<void(Config&)>& change = {});

  /// As if the daemon had been killed and started again.
  void restart();
  /// What a session does first: a line in its list of intents, by the virtual path. The file is to
  /// come into the spool under the name it returns, the id.
  std::string announce(const std::string& path, std::string_view content);
  /// What it says at last of one that it announced.
  void told(const std::string& id, bool in_spool = true);
  void end_session();
  /// All of it: intent, file into the spool, done. Returns the id.
  std::string upload(const std::string& object, const std::string& name, std::string_view content);
  /// Everything that can be done now.
  void work();
  /// work(), and lets the clock reach whatever waits for a retry, `times` times.
  void work_and_retry(int times = 3);

  /// In a list of intents, and neither received nor given up.
  bool is_announced(const std::string& id);
  [[nodiscard]] store::File file(const std::string& id);
  [[nodiscard]] std::vector<std::string> steps(const std::string& id);
  [[nodiscard]] std::vector<store::Notice> notices(const std::string& kind);
  void set_policies(const std::string& json);

  [[nodiscard]] fs::path tree() const { return root() / "partners/acme/tree"; }
  [[nodiscard]] fs::path inbound() const { return root() / "inbound/acme"; }
  [[nodiscard]] fs::path spool() const { return root() / "partners/acme/spool"; }
  [[nodiscard]] fs::path staging() const { return root() / "partners/acme/staging"; }
  [[nodiscard]] fs::path outbound() const { return root() / "outbound/acme"; }
  [[nodiscard]] const fs::path& root() const { return directory_.path(); }
  [[nodiscard]] SessionPeer peer() const;

  TemporaryDirectory directory_;
  base::ManualClock clock;
  Health health{clock};
  CountingWaker waker;
  ActivityLog activity{"test", clock};
  std::unique_ptr<LiveConfig> config;
  std::unique_ptr<store::Store> real_store;
  std::unique_ptr<InterruptedStore> store;
  std::unique_ptr<FileContext> context;
  std::unique_ptr<Inbound> in;
  std::unique_ptr<Outbound> out;
  std::unique_ptr<Pipeline> pipeline;
  std::unique_ptr<Journal> journal;

  // The session, from its first announcement on.
  std::string session_id;
  base::UniqueFd staging_fd;
  std::optional<sftp::IntentList> list;
  std::map<std::string, Uploaded> announced;
};

/// An intent of /Incoming/Invoices/<name>.
std::string announce(Gateway& gateway, const std::string& name, std::string_view content);
/// Announced and moved into the spool: its partner may have an OK for it.
std::string spooled(Gateway& gateway, const std::string& name, std::string_view content);

/// Names below a directory, relative, sorted; directories themselves left out.
[[nodiscard]] std::vector<std::string> files_below(const fs::path& directory);
[[nodiscard]] std::string content_of(const fs::path& path);
void write_file(const fs::path& path, std::string_view content);

/// While it lives, this thread and those it starts obey the modes of files, though root's.
class WithoutOverride {
 public:
  WithoutOverride() {
    EXPECT_EQ(::syscall(SYS_capget, &header_, before_.data()), 0);
    auto less = before_;
    less[0].effective &= ~((1U << CAP_DAC_OVERRIDE) | (1U << CAP_DAC_READ_SEARCH));
    EXPECT_EQ(::syscall(SYS_capset, &header_, less.data()), 0);
  }
  ~WithoutOverride() { EXPECT_EQ(::syscall(SYS_capset, &header_, before_.data()), 0); }
  WithoutOverride(const WithoutOverride&) = delete;
  WithoutOverride& operator=(const WithoutOverride&) = delete;

 private:
  __user_cap_header_struct header_{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> before_{};
};

struct MessageOptions {
  bool encrypt = true;
  bool sign = true;
  bool armour = false;
  bool by_stranger = false;   ///< signed by a key that is not the partner's
  bool for_stranger = false;  ///< encrypted to a key that is not ours
};
/// An OpenPGP message as the partner would make it.
[[nodiscard]] std::string message(std::string_view content, const MessageOptions& options = {});

}  // namespace sallyport::daemon::test
