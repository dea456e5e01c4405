#include "base/secret.h"

#include <openssl/crypto.h>

#include <cstdlib>

#include "base/error.h"
#include "base/file_io.h"

namespace sallyport::base {

void wipe(std::string& text) noexcept {
  OPENSSL_cleanse(text.data(), text.capacity());
  text.clear();
}

Secret::Secret(std::string&& value) noexcept : value_(std::move(value)) {
  wipe(value);
}

Secret::Secret(Secret&& other) noexcept : value_(std::move(other.value_)) {
  wipe(other.value_);
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe(value_);
    value_ = std::move(other.value_);
    wipe(other.value_);
  }
  return *this;
}

Secret::~Secret() {
  wipe(value_);
}

Secret Secret::clone() const {
  return Secret(std::string(value_));
}

Secret read_secret(const std::string& name) {
  std::string path = name;
  if (name.find('/') == std::string::npos) {
    const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
    if (directory == nullptr) {
      throw Error("the secret '" + name +
                  "' is a credential name, but there is no credentials directory: give an absolute "
                  "path, or LoadCredential=" +
                  name + ":FILE in the unit");
    }
    path = std::string(directory) + "/" + name;
  }
  std::string text = read_file(path, 64 * 1024);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return Secret(std::move(text));
}

}  // namespace sallyport::base
