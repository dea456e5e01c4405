// Requests about names: attributes, listings, folders, removal and renaming, and the extensions
// that only tell something.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "sftp/longname.h"
#include "sftp/session.h"

namespace sallyport::sftp {
namespace {

// A reply stays well below what any client accepts (paramiko and OpenSSH: 256 KiB; older ones 32
// KiB).
constexpr std::size_t listing_bytes = 30 * 1024;

// What there is of `block` sized pieces in `bytes`, but no more than the file system says.
std::uint64_t capped(std::uint64_t blocks, std::uint64_t left, std::uint64_t block) {
  return left == unlimited ? blocks : std::min(blocks, left / block);
}

}  // namespace

void Session::stat(Request& request) {
  const auto path = path_of(request);
  if (!path || !permit(request, Operation::look, *path)) return;
  if (const Handle* handle = upload_under_way(*path)) {
    struct stat status {};
    if (::fstat(handle->upload->fd.get(), &status) != 0) return reply_errno(request, errno);
    return replies_.attributes(request.id, shown(*path, path->depth(), status));
  }
  if (const auto status = context_.tree.status(*path)) {
    return replies_.attributes(request.id, shown(*path, path->depth(), *status));
  }
  const int error = errno;
  if (const auto file = error == ENOENT ? taken(*path) : std::nullopt) {
    struct stat status {};
    status.st_mode = S_IFREG | complete_mode;
    status.st_size = static_cast<off_t>(file->size);
    status.st_mtim = status.st_atim = {file->modified, 0};
    return replies_.attributes(request.id, shown(*path, path->depth(), status));
  }
  reply_errno(request, error);
}

void Session::fstat(Request& request) {
  const Handle* handle = handle_of(request);
  if (handle == nullptr) return;
  if (handle->kind == Handle::Kind::directory) {
    const auto status = context_.tree.status(handle->path);
    if (!status) return reply_errno(request, errno);
    return replies_.attributes(request.id, shown(handle->path, handle->path.depth(), *status));
  }
  struct stat status {};
  if (::fstat(handle->descriptor(), &status) != 0) return reply_errno(request, errno);
  replies_.attributes(request.id, shown(handle->path, handle->path.depth(), status));
}

bool Session::set_times(int file, const Attributes& wanted) {
  if (!wanted.has(Attributes::has_times)) return true;
  const timespec times[2] = {{static_cast<time_t>(wanted.accessed), 0},
                             {static_cast<time_t>(wanted.modified), 0}};
  if (::futimens(file, times) == 0) return true;
  // The folders of /Incoming are the daemon's. Clients that keep times set a folder's, too, and
  // would call the whole upload failed.
  const int error = errno;
  struct stat status {};
  if (error == EPERM && ::fstat(file, &status) == 0 && S_ISDIR(status.st_mode)) return true;
  errno = error;
  return false;
}

void Session::setstat(Request& request) {
  const auto path = path_of(request);
  if (!path) return;
  const Attributes wanted = request.reader.attributes();
  if (request.reader.bad()) return reply(request, Code::bad_message);
  const bool effective = wanted.has(Attributes::has_times) || wanted.has(Attributes::has_size);
  if (effective && !permit(request, Operation::set_times_or_size, *path)) return;
  if (Handle* handle = upload_under_way(*path)) {
    std::string_view why;
    if (wanted.has(Attributes::has_size) && !resize(*handle, wanted.size, why)) {
      return why.empty() ? reply_errno(request, errno) : refuse(request, *path, why);
    }
    if (!set_times(handle->descriptor(), wanted)) return reply_errno(request, errno);
    return reply(request, Code::ok);
  }
  const auto status = context_.tree.status(*path);
  if (!status) {
    const int error = errno;
    const auto file = error == ENOENT
                          ? taken(*path, wanted.has(Attributes::has_times) ? wanted.modified : 0)
                          : std::nullopt;
    if (!file) return reply_errno(request, error);
    if (wanted.has(Attributes::has_size) && wanted.size != file->size) {
      return reply(request, Code::permission_denied,
                   "The file was received already and cannot be changed any more");
    }
    return reply(request, Code::ok);
  }
  const bool shared = path->area() == Area::shared && path->depth() >= 2;
  const bool resizes = wanted.has(Attributes::has_size);
  if (resizes && S_ISDIR(status->st_mode)) return reply_errno(request, EISDIR);
  if (resizes && !shared) return resize_waiting(request, *path, wanted);
  if (!effective && !(shared && wanted.has(Attributes::has_permissions)))
    return reply(request, Code::ok);
  Handle file;
  file.path = *path;
  file.fd = resizes ? context_.tree.open_file(*path, O_WRONLY) : context_.tree.open_any(*path);
  if (!file.fd) return reply_errno(request, errno);
  if (wanted.has(Attributes::has_permissions) && shared &&
      ::fchmod(file.fd.get(), kept_mode(wanted.permissions, S_ISDIR(status->st_mode))) != 0) {
    return reply_errno(request, errno);
  }
  std::string_view why;
  if (resizes && !resize(file, wanted.size, why))
    return why.empty() ? reply_errno(request, errno) : refuse(request, *path, why);
  if (resizes) tell(FileEventKind::upload, *path, 0, 0, resized_to(wanted.size));
  if (!set_times(file.fd.get(), wanted)) return reply_errno(request, errno);
  reply(request, Code::ok);
}

void Session::fsetstat(Request& request) {
  Handle* handle = handle_of(request);
  if (handle == nullptr) return;
  const Attributes wanted = request.reader.attributes();
  if (request.reader.bad()) return reply(request, Code::bad_message);
  const bool effective = wanted.has(Attributes::has_times) || wanted.has(Attributes::has_size);
  if (effective && !permit(request, Operation::set_times_or_size, handle->path)) return;
  const bool folder = handle->kind == Handle::Kind::directory;
  if (folder && wanted.has(Attributes::has_size)) return reply_errno(request, EISDIR);
  if (wanted.has(Attributes::has_size)) {
    if (!handle->writable) return reply(request, Code::permission_denied);
    std::string_view why;
    if (!resize(*handle, wanted.size, why)) {
      return why.empty() ? reply_errno(request, errno) : refuse(request, handle->path, why);
    }
  }
  const bool shared = handle->path.area() == Area::shared && handle->path.depth() >= 2;
  if (wanted.has(Attributes::has_permissions) && shared &&
      ::fchmod(handle->descriptor(), kept_mode(wanted.permissions, folder)) != 0) {
    return reply_errno(request, errno);
  }
  if (!set_times(handle->descriptor(), wanted)) return reply_errno(request, errno);
  reply(request, Code::ok);
}

void Session::opendir(Request& request) {
  const auto path = path_of(request);
  if (!path || !permit(request, Operation::look, *path)) return;
  base::UniqueFd directory = context_.tree.open_directory(*path);
  if (!directory) return reply_errno(request, errno);
  Handle* handle = new_handle(request, Handle::Kind::directory, *path);
  if (handle == nullptr) return;
  handle->directory = std::make_unique<DirectoryStream>(std::move(directory));
  reply_handle(request, *handle);
}

void Session::readdir(Request& request) {
  Handle* handle = handle_of(request);
  if (handle == nullptr) return;
  if (handle->kind != Handle::Kind::directory)
    return reply(request, Code::failure, "That is no folder");
  const std::size_t place = replies_.mark();
  replies_.begin(Type::name, request.id);
  const std::size_t count_place = replies_.mark();
  replies_.put_u32(0);
  std::uint32_t count = 0;
  const std::int64_t now = ::time(nullptr);
  const VirtualPath& path = handle->path;
  const bool hides_shared = path.depth() == 0 && !context_.login.policy.shared;
  const bool read = handle->directory->read([&](const DirectoryStream::Entry& entry) {
    if (replies_.mark() - place >= listing_bytes) return false;
    if (hides_shared && entry.name == "Shared") return true;
    // A name that somebody on the host made and that no request could name is not shown.
    const bool dots = entry.name == "." || entry.name == "..";
    const auto entry_path =
        dots ? std::optional(path) : VirtualPath::resolve(path.text(), entry.name);
    if (!entry_path || (!dots && entry_path->depth() != path.depth() + 1)) return true;
    const Attributes attributes = shown(*entry_path, entry_path->depth(), entry.status);
    replies_.put_string(entry.name);
    replies_.put_string(long_name(entry.name, attributes.permissions, entry.status.st_nlink,
                                  context_.login.partner, attributes.size, attributes.modified,
                                  now));
    replies_.put_attributes(attributes);
    ++count;
    return true;
  });
  if (!read || count == 0) {
    const int error = errno;
    replies_.cut(place);
    return read ? reply(request, Code::eof) : reply_errno(request, error);
  }
  replies_.set_u32(count_place, count);
  replies_.end();
}

void Session::remove(Request& request) {
  const auto path = path_of(request);
  if (!path || !permit(request, Operation::remove, *path)) return;
  const auto status = context_.tree.status(*path);
  if (!status) return reply_errno(request, errno);
  if (S_ISDIR(status->st_mode)) return reply_errno(request, EISDIR);
  if (!context_.tree.remove_file(*path)) return reply_errno(request, errno);
  const auto size = static_cast<std::uint64_t>(status->st_size);
  FileEvent event;
  event.kind = FileEventKind::remove;
  event.path = path->text();
  event.bytes = size;
  if (path->area() == Area::outgoing) {
    // It is removed already; if the daemon cannot be told now, it finds out itself.
    (void)record(std::move(event));
  } else {
    context_.quota.give(size, 1);
    context_.broker.report(std::move(event));
  }
  reply(request, Code::ok);
}

void Session::mkdir(Request& request) {
  const auto path = path_of(request);
  if (!path) return;
  const Attributes wanted = request.reader.attributes();
  if (request.reader.bad()) return reply(request, Code::bad_message);
  if (context_.tree.status(*path)) return reply_errno(request, EEXIST);
  if (!permit(request, Operation::make_directory, *path)) return;
  if (!context_.quota.take(0, 1)) return refuse(request, *path, Quota::no_more_files);
  // In /Incoming the daemon has to move files out of it: the group needs all rights.
  const bool shared = path->area() == Area::shared;
  const mode_t mode = shared && wanted.has(Attributes::has_permissions)
                          ? kept_mode(wanted.permissions, true)
                          : mode_t{0770};
  if (!context_.tree.make_directory(*path, mode)) {
    const int error = errno;
    context_.quota.take_back(0, 1);
    return reply_errno(request, error);
  }
  tell(FileEventKind::make_directory, *path);
  reply(request, Code::ok);
}

void Session::rmdir(Request& request) {
  const auto path = path_of(request);
  if (!path || !permit(request, Operation::remove_directory, *path)) return;
  if (!context_.tree.remove_directory(*path)) return reply_errno(request, errno);
  context_.quota.take_back(0, 1);
  tell(FileEventKind::remove_directory, *path);
  reply(request, Code::ok);
}

void Session::realpath(Request& request) {
  const std::string_view raw = request.reader.string();
  if (request.reader.bad()) return reply(request, Code::bad_message);
  const auto path = VirtualPath::resolve(context_.login.policy.start_directory, raw);
  if (!path)
    return reply(request, Code::failure,
                 VirtualPath::why_bad(context_.login.policy.start_directory, raw));
  replies_.one_name(request.id, path->text());
}

void Session::rename(Request& request) {
  rename_to(request, false);
}
void Session::posix_rename(Request& request) {
  rename_to(request, true);
}

void Session::rename_to(Request& request, bool replace) {
  const auto from = path_of(request);
  if (!from) return;
  const auto to = path_of(request);
  if (!to) return;
  if (!permit(request, Operation::rename, *from) || !permit(request, Operation::rename, *to))
    return;
  if (from->area() != to->area())
    return reply(request, Code::permission_denied, "Renames do not cross areas");
  if (to->for_folder()) {
    const auto moved = context_.tree.status(*from);
    if (moved && S_ISREG(moved->st_mode)) {
      return reply(request, context_.tree.status(*to) ? Code::failure : Code::no_such_file,
                   "A file's name does not end with a slash");
    }
  }
  if (from->area() == Area::incoming) return rename_incoming(request, *from, *to, replace);
  // What somebody on the host put here (a link, a pipe) is not there, and so is neither renamed nor
  // replaced.
  if (!context_.tree.status(*from)) return reply_errno(request, errno);
  const auto replaced = replace ? context_.tree.status(*to) : std::nullopt;
  if (!context_.tree.rename(*from, *to, replaced ? 0 : RENAME_NOREPLACE))
    return reply_errno(request, errno);
  if (replaced && from->text() != to->text()) {
    context_.quota.give(
        S_ISREG(replaced->st_mode) ? static_cast<std::uint64_t>(replaced->st_size) : 0, 1);
  }
  tell(FileEventKind::rename, *from, 0, 0, {}, to->text());
  reply(request, Code::ok);
}

void Session::no_links(Request& request) {
  reply(request, Code::permission_denied, "There are no links here");
}

void Session::statvfs(Request& request) {
  const auto path = path_of(request);
  if (!path) return;
  if (!context_.tree.status(*path)) return reply_errno(request, errno);
  reply_statvfs(request);
}

void Session::fstatvfs(Request& request) {
  if (handle_of(request) != nullptr) reply_statvfs(request);
}

void Session::reply_statvfs(Request& request) {
  struct statfs fs {};
  if (::fstatfs(context_.tree.root(), &fs) != 0) return reply_errno(request, errno);
  const auto block =
      static_cast<std::uint64_t>(std::max<long>(fs.f_frsize > 0 ? fs.f_frsize : fs.f_bsize, 1));
  const std::uint64_t bytes = context_.quota.bytes_left();
  const std::uint64_t files = context_.quota.files_left();
  replies_.begin(Type::extended_reply, request.id);
  replies_.put_u64(static_cast<std::uint64_t>(fs.f_bsize));
  replies_.put_u64(block);
  replies_.put_u64(fs.f_blocks);
  replies_.put_u64(capped(fs.f_bfree, bytes, block));
  replies_.put_u64(capped(fs.f_bavail, bytes, block));
  replies_.put_u64(fs.f_files);
  replies_.put_u64(capped(fs.f_ffree, files, 1));
  replies_.put_u64(capped(fs.f_ffree, files, 1));
  replies_.put_u64(0);  // which file system it is, is nobody's business
  replies_.put_u64(0);
  replies_.put_u64(255);
  replies_.end();
}

void Session::limits(Request& request) {
  replies_.begin(Type::extended_reply, request.id);
  replies_.put_u64(max_packet);
  replies_.put_u64(max_data);
  replies_.put_u64(max_data);
  replies_.put_u64(context_.login.limits.handles);
  replies_.end();
}

void Session::expand_path(Request& request) {
  std::string_view raw = request.reader.string();
  if (request.reader.bad()) return reply(request, Code::bad_message);
  if (raw.starts_with('~')) {
    raw.remove_prefix(1);
    const std::string_view user = raw.substr(0, raw.find('/'));
    if (!user.empty() && user != context_.login.partner) return reply(request, Code::no_such_file);
    raw.remove_prefix(std::min(user.size() + 1, raw.size()));
  }
  const auto path = VirtualPath::resolve(context_.login.policy.start_directory, raw);
  if (!path)
    return reply(request, Code::failure,
                 VirtualPath::why_bad(context_.login.policy.start_directory, raw));
  replies_.one_name(request.id, path->text());
}

void Session::home_directory(Request& request) {
  const std::string_view user = request.reader.string();
  if (request.reader.bad()) return reply(request, Code::bad_message);
  if (!user.empty() && user != context_.login.partner) return reply(request, Code::no_such_file);
  const auto path = VirtualPath::resolve("/", context_.login.policy.start_directory);
  replies_.one_name(request.id, path ? path->text() : "/");
}

void Session::users_groups_by_id(Request& request) {
  PacketReader users(request.reader.bytes());
  PacketReader groups(request.reader.bytes());
  if (request.reader.bad()) return reply(request, Code::bad_message);
  // Every owner that we ever show is the partner.
  const auto names = [this](PacketReader& ids) {
    ReplyBuffer list;
    while (!ids.empty() && !ids.bad()) {
      (void)ids.u32();
      list.put_string(context_.login.partner);
    }
    return std::string(reinterpret_cast<const char*>(list.data()), list.size());
  };
  const std::string user_names = names(users);
  const std::string group_names = names(groups);
  replies_.begin(Type::extended_reply, request.id);
  replies_.put_string(user_names);
  replies_.put_string(group_names);
  replies_.end();
}

}  // namespace sallyport::sftp
