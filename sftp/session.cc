#include "sftp/session.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sallyport::sftp {
namespace {

constexpr std::chrono::seconds answer_deadline{10};
constexpr std::uint32_t requests_a_look = 16;
constexpr std::chrono::milliseconds look_every{250};
constexpr std::uint32_t most_refusals_told = 100;
constexpr std::size_t most_closing = 16;
// Owners mean nothing to a partner: one number for everything, with the partner's name to it.
constexpr std::uint32_t shown_user = 1000;

std::uint32_t clamp_u32(std::int64_t value) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(value, 0, 0xffffffff));
}

}  // namespace

void TakenFiles::forget_old() {
  const auto now = std::chrono::steady_clock::now();
  std::erase_if(taken_, [now](const auto& entry) { return entry.second.until <= now; });
}

void TakenFiles::add(const std::string& path, std::uint64_t size, std::int64_t modified) {
  // Amortised: the memory is looked through once for each doubling, not for each file.
  if ((taken_.size() & (taken_.size() - 1)) == 0) forget_old();
  taken_[path] = Taken{size, modified, std::chrono::steady_clock::now() + memory_};
}

TakenFiles::Taken* TakenFiles::find(const std::string& path) {
  const auto it = taken_.find(path);
  if (it == taken_.end() || it->second.until <= std::chrono::steady_clock::now()) return nullptr;
  return &it->second;
}

const Session::Handler Session::handlers[] = {
    {Type::open, false, &Session::open},  // writes by its flags: it checks itself
    {Type::close, false, &Session::close},
    {Type::read, false, &Session::read},
    {Type::write, true, &Session::write},
    {Type::lstat, false, &Session::stat},  // there are no links
    {Type::fstat, false, &Session::fstat},
    {Type::setstat, true, &Session::setstat},
    {Type::fsetstat, true, &Session::fsetstat},
    {Type::opendir, false, &Session::opendir},
    {Type::readdir, false, &Session::readdir},
    {Type::remove, true, &Session::remove},
    {Type::mkdir, true, &Session::mkdir},
    {Type::rmdir, true, &Session::rmdir},
    {Type::realpath, false, &Session::realpath},
    {Type::stat, false, &Session::stat},
    {Type::rename, true, &Session::rename},
    {Type::readlink, false, &Session::no_links},
    {Type::symlink, true, &Session::no_links},
    {Type::extended, false, &Session::extended},
};

const Session::Extension Session::extensions[] = {
    {"posix-rename@openssh.com", true, &Session::posix_rename},
    {"statvfs@openssh.com", false, &Session::statvfs},
    {"fstatvfs@openssh.com", false, &Session::fstatvfs},
    {"hardlink@openssh.com", true, &Session::no_links},
    {"fsync@openssh.com", false, &Session::fsync},
    {"lsetstat@openssh.com", true, &Session::setstat},
    {"limits@openssh.com", false, &Session::limits},
    {"expand-path@openssh.com", false, &Session::expand_path},
    {"copy-data", true, &Session::copy_data},
    {"home-directory", false, &Session::home_directory},
    {"users-groups-by-id@openssh.com", false, &Session::users_groups_by_id},
};

Session::Session(SessionContext& context) : context_(context) {}

Session::~Session() {
  try {
    finish();
  } catch (const std::exception&) {
    // The daemon is gone; it brings back what is in staging/ when it is there again.
  }
}

std::size_t Session::consume(std::span<const std::uint8_t> stream) {
  std::size_t consumed = 0;
  stopped_early_ = false;
  while (!broken_) {
    stopped_early_ = held_back();
    if (stopped_early_) break;
    const Frame frame = next_frame(stream.subspan(consumed));
    if (frame.what == Frame::What::incomplete) break;
    if (frame.what == Frame::What::malformed) {
      broken_ = true;
      break;
    }
    // Who asks for several things at once gets the answers to all of them at once: nothing is
    // gained by putting off what the one before left to do, and what comes now may take its time.
    context_.after_answers();
    look_at_daemon();
    dispatch(frame.type, frame.body);
    consumed += frame.consumed;
  }
  return consumed;
}

// What has come at once can take minutes, an fsync each: a suspension does not wait for that.
void Session::look_at_daemon() {
  if (++requests_ % requests_a_look != 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_look_) return;
  next_look_ = now + look_every;
  if (context_.broker.ended()) throw BrokerError("The daemon has ended this session.");
}

void Session::dispatch(Type type, std::span<const std::uint8_t> body) {
  // INIT comes once and first. Neither can be answered otherwise: INIT has no id.
  if ((type == Type::init) == initialised_) {
    broken_ = true;
    return;
  }
  Request request{0, PacketReader(body)};
  if (type == Type::init) {
    (void)request.reader.u32();  // we speak 3, whatever the peer offers
    if (request.reader.bad()) {
      broken_ = true;
      return;
    }
    initialised_ = true;
    replies_.version();
    return;
  }
  request.id = request.reader.u32();
  if (request.reader.bad()) {
    broken_ = true;
    return;
  }
  const auto* handler =
      std::find_if(std::begin(handlers), std::end(handlers),
                   [type](const Handler& candidate) { return candidate.type == type; });
  if (handler == std::end(handlers)) return reply(request, Code::unsupported);
  if (handler->writes && context_.login.policy.read_only)
    return reply(request, Code::permission_denied);
  (this->*handler->handle)(request);
}

void Session::extended(Request& request) {
  const std::string_view name = request.reader.string();
  if (request.reader.bad()) return reply(request, Code::bad_message);
  const auto* extension =
      std::find_if(std::begin(extensions), std::end(extensions),
                   [name](const Extension& candidate) { return candidate.name == name; });
  if (extension == std::end(extensions)) return reply(request, Code::unsupported);
  if (extension->writes && context_.login.policy.read_only)
    return reply(request, Code::permission_denied);
  (this->*extension->handle)(request);
}

void Session::reply(Request& request, Code code, std::string_view message) {
  replies_.status(request.id, code, message);
}

void Session::reply_errno(Request& request, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return reply(request, Code::no_such_file);
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP:
    case EXDEV:
      return reply(request, Code::permission_denied);
    case EEXIST:
      return reply(request, Code::failure, "The file exists already");
    case EISDIR:
      return reply(request, Code::failure, "That is a folder");
    case ENOTEMPTY:
      return reply(request, Code::failure, "The folder is not empty");
    case ENOSPC:
    case EDQUOT:
      return reply(request, Code::failure, "No space is left on the server");
    case EINVAL:
      return reply(request, Code::failure, "That is not possible");
    default:
      return reply(request, Code::failure, "The server could not do that");
  }
}

void Session::refuse(Request& request, const VirtualPath& path, std::string_view why) {
  if (context_.refusals_told < most_refusals_told) {
    ++context_.refusals_told;
    tell(FileEventKind::refused, path, 0, 0, std::string(why));
  }
  reply(request, Code::failure, why);
}

std::optional<VirtualPath> Session::path_of(Request& request) {
  const std::string_view raw = request.reader.string();
  if (request.reader.bad()) {
    reply(request, Code::bad_message);
    return std::nullopt;
  }
  auto path = VirtualPath::resolve(context_.login.policy.start_directory, raw);
  if (!path) {
    reply(request, Code::failure, VirtualPath::why_bad(context_.login.policy.start_directory, raw));
    return std::nullopt;
  }
  if (!visible(*path, context_.login.policy)) {
    reply(request, Code::no_such_file);
    return std::nullopt;
  }
  return path;
}

bool Session::permit(Request& request, Operation operation, const VirtualPath& path) {
  if (allowed(operation, path, context_.login.policy)) return true;
  if (operation != Operation::look && context_.refusals_told < most_refusals_told) {
    ++context_.refusals_told;
    tell(FileEventKind::refused, path, 0, 0, "permission denied");
  }
  reply(request, Code::permission_denied);
  return false;
}

Session::Handle* Session::handle_of(Request& request) {
  const std::string_view text = request.reader.string();
  if (request.reader.bad()) {
    reply(request, Code::bad_message);
    return nullptr;
  }
  std::uint32_t words[2] = {0, 0};
  if (text.size() == sizeof(words)) {
    std::memcpy(words, text.data(), sizeof(words));
    if (words[0] < handles_.size()) {
      Handle* handle = handles_[words[0]].get();
      if (handle->kind != Handle::Kind::none && handle->generation == words[1]) return handle;
    }
  }
  reply(request, Code::failure, "No such handle");
  return nullptr;
}

Session::Handle* Session::new_handle(Request& request, Handle::Kind kind, const VirtualPath& path) {
  if (context_.open_handles >= context_.login.limits.handles) {
    refuse(request, path, "Too many open files in this session");
    return nullptr;
  }
  auto free = std::find_if(handles_.begin(), handles_.end(),
                           [](const auto& handle) { return handle->kind == Handle::Kind::none; });
  if (free == handles_.end()) free = handles_.insert(free, std::make_unique<Handle>());
  Handle& handle = **free;
  const std::uint32_t generation = handle.generation + 1;
  handle = Handle{};
  handle.generation = generation;
  handle.kind = kind;
  handle.path = path;
  handle.opened = std::chrono::steady_clock::now();
  ++context_.open_handles;
  return &handle;
}

void Session::reply_handle(Request& request, const Handle& handle) {
  const auto it = std::find_if(handles_.begin(), handles_.end(), [&handle](const auto& candidate) {
    return candidate.get() == &handle;
  });
  const std::uint32_t words[2] = {static_cast<std::uint32_t>(it - handles_.begin()),
                                  handle.generation};
  replies_.handle(request.id, {reinterpret_cast<const char*>(words), sizeof(words)});
}

void Session::add_held(std::vector<HeldFile>& held, Files& seen) const {
  struct stat status {};
  for (const auto& handle : handles_) {
    if (handle->kind != Handle::Kind::file || !nameless(*handle, status) ||
        !seen.emplace(status.st_dev, status.st_ino).second)
      continue;
    held.push_back({status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size)});
  }
}

// What we put into /Outgoing never counted.
bool Session::nameless(const Handle& handle, struct stat& status) {
  return handle.fd && handle.path.area() != Area::outgoing &&
         ::fstat(handle.fd.get(), &status) == 0 && status.st_nlink == 0;
}

void Session::release(Handle& handle) {
  struct stat status {};
  if (context_.quota.limits() && nameless(handle, status)) context_.quota.held_changed();
  if (handle.fd && context_.closing.size() < most_closing)
    context_.closing.push_back(std::move(handle.fd));
  const std::uint32_t generation = handle.generation;
  handle = Handle{};
  handle.generation = generation;
  --context_.open_handles;
}

void Session::finish() {
  for (const auto& handle : handles_) {
    if (handle->kind == Handle::Kind::none) continue;
    try {
      abandon(*handle);
    } catch (const BrokerError&) {
      // The other handles' uploads have to be kept all the same.
    }
    release(*handle);
  }
}

Attributes Session::shown(const VirtualPath& path, std::size_t depth,
                          const struct stat& status) const {
  Attributes a;
  a.flags = Attributes::has_size | Attributes::has_owner | Attributes::has_permissions |
            Attributes::has_times;
  a.size = static_cast<std::uint64_t>(status.st_size);
  a.user = shown_user;
  a.group = shown_user;
  a.permissions = shown_mode(path.area(), depth, status.st_mode, context_.login.policy);
  a.accessed = clamp_u32(status.st_atim.tv_sec);
  a.modified = clamp_u32(status.st_mtim.tv_sec);
  return a;
}

void Session::tell(FileEventKind kind, const VirtualPath& path, std::uint64_t bytes,
                   std::uint64_t duration_ms, std::string detail, std::string target,
                   bool complete) {
  FileEvent event;
  event.kind = kind;
  event.path = path.text();
  event.target = std::move(target);
  event.detail = std::move(detail);
  event.bytes = bytes;
  event.duration_ms = duration_ms;
  event.complete = complete;
  context_.broker.report(std::move(event));
}

bool Session::record(FileEvent event) {
  return context_.broker.ask<Recorded>(std::move(event), answer_deadline).status == Status::ok;
}

}  // namespace sallyport::sftp
