// A store of its own in a throw-away directory, and keys to put into it.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "store/admins.h"
#include "store/keys.h"
#include "store/store.h"

namespace sallyport::daemon::test {

inline constexpr base::Instant start_time = base::from_unix(1'800'000'000);

class SampleStore {
 public:
  SampleStore() {
    std::string path =
        (std::filesystem::temp_directory_path() / "sallyport_verify_XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("no temporary directory");
    directory_ = path;
    store::Options options;
    options.sqlite_path = path + "/store.db";
    store_ = store::open_store(std::move(options));
  }
  ~SampleStore() {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  SampleStore(const SampleStore&) = delete;
  SampleStore& operator=(const SampleStore&) = delete;

  store::Store& operator*() { return *store_; }
  store::Store* operator->() { return store_.get(); }
  [[nodiscard]] const std::string& directory() const { return directory_; }

 private:
  std::string directory_;
  std::unique_ptr<store::Store> store_;
};

inline store::ApiKey sample_key(std::string id, std::string name = "A key") {
  store::ApiKey key;
  key.id = std::move(id);
  key.display_name = std::move(name);
  key.template_id = "CUSTOM";
  key.privileges = {{"SEARCH_API", "LOGICAL_INDEX", "VIEW", ""}};
  key.created_by = "ada@example.com";
  key.created = start_time;
  key.activated = start_time;
  return key;
}

inline store::KeyValue sample_value(const store::ApiKey& key, const std::string& value) {
  store::KeyValue row;
  row.sha256 = base::sha256(value);
  row.key_id = key.id;
  return row;
}

inline void insert(SampleStore& store, const store::ApiKey& key, const std::string& value) {
  store->write([&](store::Unit& unit) { store::insert_key(unit, key, base::sha256(value)); });
}

}  // namespace sallyport::daemon::test
