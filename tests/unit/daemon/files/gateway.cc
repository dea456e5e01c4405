#include "gateway.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/bytes.h"
#include "base/file_io.h"
#include "daemon/files/intent_lists.h"
#include "daemon/partners/session_id.h"
#include "store/admins.h"
#include "store/error.h"

namespace sallyport::daemon::test {
namespace {

pgp::EngineOptions engine_options(const fs::path& home) {
  pgp::EngineOptions options;
  options.home = home;
  options.agents = 1;
  return options;
}

/// The keys, which take long, are made before. A little ahead: a message that is made a few seconds
/// later on a busy machine must not be from the future.
base::Instant start_time() {
  static_cast<void>(Keys::get());
  return std::chrono::floor<base::Seconds>(std::chrono::system_clock::now()) + base::Seconds{2};
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = "/tmp/spf-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw base::SystemError(errno, "make " + pattern);
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

Keys& Keys::get() {
  static Keys* keys = [] {
    auto* made = new Keys;  // ended by at_exit below, while gpg's agents can still be told
    const auto engine = [&](const char* name) {
      auto result = std::make_unique<pgp::Engine>(engine_options(made->directory.path() / name));
      result->start();
      return result;
    };
    made->ours = engine("o");
    made->partners = engine("p");
    made->strangers = engine("s");
    const auto key = [](pgp::Engine& of, const char* name) {
      return of.generate_own_key(
          {pgp::OwnKeyType::curve25519, name, "someone@example.com", std::nullopt});
    };
    made->our_key = key(*made->ours, "Gateway");
    made->partner_key = key(*made->partners, "Partner");
    made->stranger_key = key(*made->strangers, "Stranger");
    const std::string our_public = made->ours->export_public_key(made->our_key.fingerprint).value();
    made->partner_public = made->partners->export_public_key(made->partner_key.fingerprint).value();
    const std::string stranger =
        made->strangers->export_public_key(made->stranger_key.fingerprint).value();
    const auto import = [](pgp::Engine& into, const std::string& key_data) {
      if (!into.import_public_key(key_data).key) throw base::Error("a test key was refused");
    };
    import(*made->ours, made->partner_public);
    import(*made->partners, our_public);
    import(*made->partners, stranger);
    import(*made->strangers, our_public);
    std::atexit([] { delete &Keys::get(); });
    return made;
  }();
  return *keys;
}

void InterruptedStore::run(bool writes, const std::function<void(store::Unit&)>& work) {
  if (!writes) {
    inner_.read([&](store::Unit& unit) { work(unit); });
    return;
  }
  const bool now = countdown_ == 1;
  if (countdown_ > 0) --countdown_;
  const auto interrupt_here = [this] {
    interrupted_ = true;
    throw store::Error(store::Failure::unavailable, 0, "interrupted by the test");
  };
  if (interrupted_) interrupt_here();  // until the restart
  if (now && when_ == When::before) interrupt_here();
  inner_.write([&](store::Unit& unit) { work(unit); });
  if (now) interrupt_here();
}

Gateway::Gateway(const std::function<void(Config&)>& change) : clock(start_time()) {
  Config settings;
  settings.gateway.partners_root = (root() / "partners").string();
  settings.files.inbound = (root() / "inbound").string();
  settings.files.outbound = (root() / "outbound").string();
  settings.files.state = (root() / "state").string();
  settings.backup.directory = (root() / "backup").string();
  settings.store.sqlite_path = (root() / "store.db").string();
  for (const char* name : {"partners/acme/tree", "partners/acme/staging", "partners/acme/spool",
                           "inbound", "outbound", "state", "backup"}) {
    fs::create_directories(root() / name);
  }
  if (change) change(settings);
  store::Options options;
  options.sqlite_path = settings.store.sqlite_path;
  config = std::make_unique<LiveConfig>(std::move(settings));
  real_store = store::open_store(std::move(options));
  store = std::make_unique<InterruptedStore>(*real_store);
  Keys& keys = Keys::get();
  real_store->write([&](store::Unit& unit) {
    store::Partner partner;
    partner.name = "acme";
    partner.emails = {"contact@example.com"};
    partner.created = clock.now();
    store::insert_partner(unit, partner);
    store::PgpKey key;
    key.id = base::random_id();
    key.partner = "acme";
    key.fingerprint = keys.partner_key.fingerprint;
    key.public_key = keys.partner_public;
    key.can_sign = true;
    key.can_encrypt = true;
    key.added = clock.now();
    store::insert_pgp_key(unit, key);
    store::Administrator administrator;
    administrator.id = base::random_id();
    administrator.name = "Admin";
    administrator.email = "admin@example.com";
    administrator.created = clock.now();
    store::insert_administrator(unit, administrator);
  });
  context = std::make_unique<FileContext>(
      FileContext{*store, clock, *config, *keys.ours, health, waker, activity});
  restart();
}

void Gateway::restart() {
  store->interrupt(0, InterruptedStore::When::before);
  pipeline.reset();
  journal.reset();
  list.reset();
  in = std::make_unique<Inbound>(*context);
  out = std::make_unique<Outbound>(*context);
  pipeline = std::make_unique<Pipeline>(*context, *in, out.get());
  journal =
      std::make_unique<Journal>(*context, [this](const store::File& got) { pipeline->offer(got); });
  pipeline->set_intake(journal->intake());
  in->set_offer([this](const store::File& got) { pipeline->offer(got); });
  Check(*context).settle([this](const store::File& got) { pipeline->offer(got); });
  pipeline->look_through_journal();
}

SessionPeer Gateway::peer() const {
  return {"acme", "192.0.2.7", "SSH-2.0-Test", "publickey", "SHA256:abc"};
}

std::string Gateway::announce(const std::string& path, std::string_view content) {
  if (!list) {
    session_id = make_session_id("test");
    staging_fd = base::open_file(staging(), O_RDONLY | O_DIRECTORY);
    list.emplace(staging_fd.get(), session_id, uploader_facts(peer()));
    journal->session_began(peer(), session_id);
  }
  Uploaded upload{base::random_id(), path, content.size(), base::sha256(content), 0, true};
  if (!list->add({upload.id, upload.path, upload.size, upload.sha256})) {
    throw base::SystemError(errno, "write a list of intents");
  }
  upload.line = list->lines();
  return announced.emplace(upload.id, upload).first->first;
}

void Gateway::told(const std::string& id, bool in_spool) {
  Uploaded upload = announced.at(id);
  upload.in_spool = in_spool;
  journal->uploaded(peer(), session_id, upload);
}

void Gateway::end_session() {
  journal->session_ended(session_id, false);
  list.reset();
}

std::string Gateway::upload(const std::string& object, const std::string& name,
                            std::string_view content) {
  const std::string folder = object.empty() ? "/Incoming/" : "/Incoming/" + object + "/";
  const std::string id = announce(folder + name, content);
  write_file(spool() / id, content);
  told(id);
  journal->intake().work();
  return id;
}

void Gateway::work() {
  journal->intake().work();
  while (pipeline->work_once()) {
  }
}

void Gateway::work_and_retry(int times) {
  work();
  for (int i = 0; i < times; ++i) {
    clock.advance(base::Seconds{60});
    static_cast<void>(pipeline->run_pass(clock.now()));
    work();
  }
}

store::File Gateway::file(const std::string& id) {
  return real_store->read([&](store::Unit& unit) { return store::find_file(unit, id); }).value();
}

bool Gateway::is_announced(const std::string& id) {
  const bool is_listed = listed_ids(context->staging("acme")).contains(id);
  return is_listed &&
         !real_store->read([&](store::Unit& unit) { return store::find_file(unit, id); });
}

std::vector<std::string> Gateway::steps(const std::string& id) {
  std::vector<std::string> result;
  for (const auto& step :
       real_store->read([&](store::Unit& unit) { return store::file_steps(unit, id); })) {
    result.emplace_back(to_string(step.state));
  }
  return result;
}

std::vector<store::Notice> Gateway::notices(const std::string& kind) {
  auto all = real_store->read(
      [&](store::Unit& unit) { return store::list_notices(unit, {}, nullptr, 1000); });
  all.erase(std::remove_if(all.begin(), all.end(),
                           [&](const store::Notice& notice) { return notice.kind != kind; }),
            all.end());
  return all;
}

void Gateway::set_policies(const std::string& json) {
  real_store->write([&](store::Unit& unit) {
    auto partner = store::find_partner(unit, "acme").value();
    partner.policies = json;
    ASSERT_TRUE(store::update_partner(unit, partner));
  });
}

std::string announce(Gateway& gateway, const std::string& name, std::string_view content) {
  return gateway.announce("/Incoming/Invoices/" + name, content);
}

std::string spooled(Gateway& gateway, const std::string& name, std::string_view content) {
  std::string id = announce(gateway, name, content);
  write_file(gateway.spool() / id, content);
  return id;
}

std::vector<std::string> files_below(const fs::path& directory) {
  std::vector<std::string> names;
  if (!fs::exists(directory)) return names;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_directory()) names.push_back(fs::relative(entry.path(), directory).string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string content_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream content;
  content << stream.rdbuf();
  return content.str();
}

void write_file(const fs::path& path, std::string_view content) {
  std::ofstream stream(path, std::ios::binary);
  stream << content;
  if (!stream.flush()) throw base::Error("cannot write " + path.string());
}

std::string message(std::string_view content, const MessageOptions& options) {
  Keys& keys = Keys::get();
  const TemporaryDirectory directory;
  write_file(directory.path() / "plain", content);
  pgp::Sealing sealing;
  if (options.encrypt) {
    sealing.recipients.push_back(options.for_stranger ? keys.stranger_key.fingerprint
                                                      : keys.our_key.fingerprint);
  }
  if (options.sign) {
    sealing.signer =
        options.by_stranger ? keys.stranger_key.fingerprint : keys.partner_key.fingerprint;
  }
  sealing.armour = options.armour;
  pgp::Engine& engine = options.by_stranger ? *keys.strangers : *keys.partners;
  const pgp::Outcome outcome =
      engine.encrypt_and_sign(directory.path() / "plain", directory.path() / "sealed", sealing);
  if (!outcome.ok()) throw base::Error("cannot make a message: " + outcome.detail);
  return content_of(directory.path() / "sealed");
}

}  // namespace sallyport::daemon::test
