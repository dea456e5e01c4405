#include "daemon/app/deferred_store.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/secret.h"

namespace sallyport::daemon {
namespace {

constexpr std::string_view condition = "store.unavailable";

store::Options options_of(const Config::Store& config) {
  store::Options options;
  if (config.driver == "mysql") options.dialect = store::Dialect::mysql;
  options.sqlite_path = config.sqlite_path;
  options.host = config.host;
  options.port = config.port;
  options.unix_socket = config.unix_socket;
  options.user = config.user;
  if (!config.password_file.empty()) options.password = base::read_secret(config.password_file);
  options.database = config.database;
  options.tls_ca = config.tls_ca;
  options.connections = config.connections;
  return options;
}

}  // namespace

DeferredStore::DeferredStore(const Config& config, Health& health)
    : config_(config.store),
      dialect_(config.store.driver == "mysql" ? store::Dialect::mysql : store::Dialect::sqlite),
      health_(health) {}

void DeferredStore::open() {
  if (dialect_ == store::Dialect::sqlite) {
    const auto directory = std::filesystem::path(config_.sqlite_path).parent_path();
    if (!std::filesystem::is_directory(directory)) {
      throw store::Error(store::Failure::refused, 0,
                         fmt::format("The directory {} of store.sqlite_path does not exist: create "
                                     "it, writable by this user.",
                                     directory.string()));
    }
  }
  try {
    std::shared_ptr<store::Store> opened = store::open_store(options_of(config_));
    {
      const std::lock_guard lock(mutex_);
      inner_ = std::move(opened);
    }
    answered(nullptr);
  } catch (const store::Error& error) {
    away_ = true;
    health_.raise(condition, error.what());
    throw;
  }
}

std::shared_ptr<store::Store> DeferredStore::inner() const {
  const std::lock_guard lock(mutex_);
  return inner_;
}

// `error` null: the store did what it was asked for.
void DeferredStore::answered(const store::Error* error) {
  if (error == nullptr) {
    if (away_.exchange(false)) health_.clear(condition);
    return;
  }
  if (error->kind() == store::Failure::unavailable || error->kind() == store::Failure::refused ||
      error->kind() == store::Failure::full) {
    away_ = true;
    health_.raise(condition, error->what());
  }
}

void DeferredStore::ping() {
  run(false, [](store::Unit&) {});
}

void DeferredStore::run(bool writes, const std::function<void(store::Unit&)>& work) {
  const auto store = inner();
  if (!store) {
    throw store::Error(store::Failure::unavailable, 0, "The database does not answer yet.");
  }
  try {
    if (writes) {
      store->write(work);
    } else {
      store->read(work);
    }
  } catch (const store::Error& error) {
    // SQLite has one writer, ours: who still holds the lock after all our tries is somebody else.
    if (error.kind() == store::Failure::conflict && config_.driver == "sqlite") {
      const store::Error locked(store::Failure::unavailable, error.code(), error.what());
      answered(&locked);
      throw locked;
    }
    answered(&error);
    throw;
  }
  answered(nullptr);
}

}  // namespace sallyport::daemon
