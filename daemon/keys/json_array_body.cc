#include "daemon/keys/json_array_body.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/error.h"

namespace sallyport::daemon {

namespace {

constexpr std::size_t kept_bytes = 1 << 20;

base::UniqueFd nameless_file() {
  std::string pattern = (std::filesystem::temp_directory_path() / "sallyport-XXXXXX").string();
  base::UniqueFd file(::mkostemp(pattern.data(), O_CLOEXEC));
  if (!file) {
    throw base::SystemError(
        errno, "make a temporary file in " + std::filesystem::temp_directory_path().string());
  }
  ::unlink(pattern.c_str());
  return file;
}

}  // namespace

void JsonArrayBody::push(const Json& item) {
  if (!empty_) text_ += ',';
  empty_ = false;
  text_ += item.dump();
  if (text_.size() >= kept_bytes) spill();
}

void JsonArrayBody::spill() {
  if (!file_) file_ = nameless_file();
  std::string_view rest = text_;
  while (!rest.empty()) {
    const ssize_t count = ::write(file_.get(), rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw base::SystemError(errno, "write a long answer to a temporary file");
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
  written_ += text_.size();
  text_.clear();
}

Response JsonArrayBody::finish() {
  text_ += ']';
  Response response;
  response.content_type = "application/json";
  if (!file_) {
    response.body = std::move(text_);
    return response;
  }
  spill();
  response.file = FileBody{std::move(file_), 0, written_};
  return response;
}

}  // namespace sallyport::daemon
