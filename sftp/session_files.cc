// OPEN, CLOSE, READ, WRITE and what works on open files.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/page_buffer.h"
#include "sftp/session.h"

namespace sallyport::sftp {
namespace {

// Offsets beyond this cannot be a file's; off_t ends at 2^63 - 1.
constexpr std::uint64_t largest_offset = (std::uint64_t{1} << 62) - 1;
constexpr std::string_view file_too_large = "The file is larger than is allowed here";

std::uint64_t milliseconds_since(std::chrono::steady_clock::time_point start) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::steady_clock::now() - start)
                                        .count());
}

}  // namespace

void Session::open(Request& request) {
  const auto path = path_of(request);
  if (!path) return;
  std::uint32_t flags = request.reader.u32();
  const Attributes wanted = request.reader.attributes();
  if (request.reader.bad()) return reply(request, Code::bad_message);
  if (path->for_folder()) {
    return reply(request, context_.tree.status(*path) ? Code::failure : Code::no_such_file,
                 "A file's name does not end with a slash");
  }
  if ((flags & (open_flag::append | open_flag::create | open_flag::truncate)) != 0)
    flags |= open_flag::write;
  if ((flags & open_flag::write) == 0) {
    if (!permit(request, Operation::read, *path)) return;
    return open_existing_or_new(request, *path, open_flag::read, {});
  }
  if (context_.login.policy.read_only) return reply(request, Code::permission_denied);
  if (!permit(request, Operation::write, *path)) return;
  if (path->area() == Area::incoming) return open_upload(request, *path, flags);
  open_existing_or_new(request, *path, flags, wanted);
}

void Session::open_existing_or_new(Request& request, const VirtualPath& path, std::uint32_t flags,
                                   const Attributes& wanted) {
  const bool writes = (flags & open_flag::write) != 0;
  const bool reads = (flags & open_flag::read) != 0;
  const int open_flags = writes ? (reads ? O_RDWR : O_WRONLY) : O_RDONLY;
  const bool creates = (flags & open_flag::create) != 0;
  const bool exclusive = (flags & open_flag::exclusive) != 0;
  const bool counted = creates && context_.quota.take(0, 1);
  if (creates && !counted) {
    if (!context_.tree.status(path)) return refuse(request, path, Quota::no_more_files);
    if (exclusive) return reply_errno(request, EEXIST);
  }
  Handle* handle = new_handle(request, Handle::Kind::file, path);
  struct stat status {};
  bool is_new = false;
  if (handle != nullptr) {
    mode_t mode = 0;
    if (creates)
      mode = wanted.has(Attributes::has_permissions) ? kept_mode(wanted.permissions, false)
                                                     : mode_t{0660};
    // As a new file first: most are, and then nothing has to be asked before.
    if (counted) {
      handle->fd = context_.tree.open_file(path, open_flags | O_CREAT | O_EXCL, mode, &status);
      is_new = static_cast<bool>(handle->fd);
    }
    if (!is_new && (!counted || (errno == EEXIST && !exclusive)))
      handle->fd = context_.tree.open_file(path, open_flags | (counted ? O_CREAT : 0),
                                           counted ? mode : 0, &status);
  }
  const int error = errno;
  if (counted && !is_new) context_.quota.take_back(0, 1);
  if (handle == nullptr) return;
  if (!handle->fd) {
    release(*handle);
    return reply_errno(request, error);
  }
  handle->readable = reads;
  handle->writable = writes;
  handle->append = (flags & open_flag::append) != 0;
  handle->size = static_cast<std::uint64_t>(status.st_size);
  // Truncated here and not by O_TRUNC, so that the quota learns how much was freed.
  if (writes && (flags & open_flag::truncate) != 0 && handle->size > 0) {
    std::string_view why;
    if (!resize(*handle, 0, why)) {
      const int why_not = errno;
      release(*handle);
      return reply_errno(request, why_not);
    }
  }
  reply_handle(request, *handle);
}

void Session::close(Request& request) {
  Handle* handle = handle_of(request);
  if (handle == nullptr) return;
  switch (handle->kind) {
    case Handle::Kind::upload:
      close_upload(request, *handle);
      break;
    case Handle::Kind::file:
      close_file(request, *handle);
      break;
    case Handle::Kind::directory:
    case Handle::Kind::none:
      reply(request, Code::ok);
      break;
  }
  release(*handle);
}

void Session::close_file(Request& request, Handle& handle) {
  const std::uint64_t duration = milliseconds_since(handle.opened);
  if (handle.writable) {
    if (::fsync(handle.fd.get()) != 0) return reply_errno(request, errno);
    ++context_.counters.files_received;
    tell(FileEventKind::upload, handle.path, handle.bytes_written, duration);
    return reply(request, Code::ok);
  }
  struct stat status {};
  const bool whole = ::fstat(handle.fd.get(), &status) == 0 &&
                     handle.read.covers(static_cast<std::uint64_t>(status.st_size));
  if (whole) ++context_.counters.files_sent;
  FileEvent event;
  event.kind = FileEventKind::download;
  event.path = handle.path.text();
  event.bytes = handle.bytes_read;
  event.duration_ms = duration;
  event.complete = whole;
  if (handle.path.area() != Area::outgoing) {
    context_.broker.report(std::move(event));
  } else if (!record(std::move(event))) {
    return reply(request, Code::failure, "The download could not be recorded");
  }
  reply(request, Code::ok);
}

void Session::read(Request& request) {
  Handle* handle = handle_of(request);
  if (handle == nullptr) return;
  const std::uint64_t offset = request.reader.u64();
  const std::uint32_t wanted = request.reader.u32();
  if (request.reader.bad()) return reply(request, Code::bad_message);
  if (!handle->readable) return reply(request, Code::permission_denied);
  if (offset > largest_offset) return reply(request, Code::eof);
  const std::uint32_t most = std::min(wanted, max_data);
  const std::size_t place = replies_.mark();
  const std::span<std::uint8_t> room = replies_.begin_data(request.id, most);
  ssize_t count = 0;
  do {
    count = ::pread(handle->descriptor(), room.data(), room.size(), static_cast<off_t>(offset));
  } while (count < 0 && errno == EINTR);
  if (count <= 0) {
    const int error = errno;
    replies_.cut(place);
    if (count < 0) return reply_errno(request, error);
    if (most > 0) return reply(request, Code::eof);
    (void)replies_.begin_data(request.id, 0);
  }
  const auto length = static_cast<std::uint64_t>(std::max<ssize_t>(count, 0));
  replies_.end_data(length);
  handle->bytes_read += length;
  context_.counters.bytes_sent += length;
  context_.throttle.spend(length, std::chrono::steady_clock::now());
  (void)handle->read.add(offset, offset + length);
}

void Session::write(Request& request) {
  Handle* handle = handle_of(request);
  if (handle == nullptr) return;
  const std::uint64_t offset = request.reader.u64();
  const std::span<const std::uint8_t> data = request.reader.bytes();
  if (request.reader.bad()) return reply(request, Code::bad_message);
  if (!handle->writable) return reply(request, Code::permission_denied);
  context_.throttle.spend(data.size(), std::chrono::steady_clock::now());
  std::string_view why;
  const Code code = write_at(*handle, handle->append ? handle->length() : offset, data, why);
  if (code == Code::failure && why.empty()) return reply_errno(request, errno);
  if (code == Code::failure) return refuse(request, handle->path, why);
  reply(request, code);
}

Code Session::write_at(Handle& handle, std::uint64_t offset, std::span<const std::uint8_t> data,
                       std::string_view& why) {
  const Code code = write_piece(handle, offset, data, why);
  if (code != Code::ok && handle.upload) handle.upload->broken = true;
  return code;
}

Code Session::write_piece(Handle& handle, std::uint64_t offset, std::span<const std::uint8_t> data,
                          std::string_view& why) {
  if (data.empty()) return Code::ok;
  if (offset > largest_offset) {
    why = file_too_large;
    return Code::failure;
  }
  if (context_.quota.limits() && !learn_size(handle)) return Code::failure;
  const std::uint64_t end = offset + data.size();
  std::uint64_t& length = handle.length();
  if (end > length) {
    if (end > context_.login.limits.max_file_bytes) {
      why = file_too_large;
      return Code::failure;
    }
    if (!context_.quota.take(end - length, 0)) {
      why = Quota::no_more_bytes;
      return Code::failure;
    }
  }
  std::size_t done = 0;
  while (done < data.size()) {
    const ssize_t count = ::pwrite(handle.descriptor(), data.data() + done, data.size() - done,
                                   static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    done += static_cast<std::size_t>(count);
  }
  const int error = errno;
  // What could not be written at all, far behind the end, makes the file no longer.
  const std::uint64_t reached = done > 0 ? std::max(length, offset + done) : length;
  if (end > length) {
    context_.quota.take_back(end - (handle.nameless ? length : reached), 0);
    if (handle.nameless) context_.quota.held_changed();
  }
  length = reached;
  handle.bytes_written += done;
  context_.counters.bytes_received += done;
  if (handle.upload) {
    handle.upload->touched = true;
    handle.upload->hash.written(handle.descriptor(), offset, data.first(done));
    if (!handle.upload->written.add(offset, offset + done)) {
      why = "Too many separate pieces";
      return Code::failure;
    }
  }
  if (done == data.size()) {
    return Code::ok;
  }
  errno = error;
  return Code::failure;
}

bool Session::learn_size(Handle& handle) {
  if (handle.upload) return true;
  struct stat status {};
  if (::fstat(handle.descriptor(), &status) != 0) return false;
  handle.size = static_cast<std::uint64_t>(status.st_size);
  handle.nameless = status.st_nlink == 0;
  return true;
}

bool Session::resize(Handle& handle, std::uint64_t size, std::string_view& why) {
  if (!learn_size(handle)) return false;
  std::uint64_t& length = handle.length();
  if (size > length) {
    if (size > largest_offset || size > context_.login.limits.max_file_bytes) {
      why = file_too_large;
      return false;
    }
    if (!context_.quota.take(size - length, 0)) {
      why = Quota::no_more_bytes;
      return false;
    }
  }
  if (::ftruncate(handle.descriptor(), static_cast<off_t>(size)) != 0) {
    if (size > length) context_.quota.take_back(size - length, 0);
    return false;
  }
  // Who removed it has given back all of it.
  if (size < length && context_.quota.limits() && !handle.upload) {
    struct stat status {};
    handle.nameless = ::fstat(handle.descriptor(), &status) != 0 || status.st_nlink == 0;
  }
  if (handle.nameless) {
    if (size > length) context_.quota.take_back(size - length, 0);
    context_.quota.held_changed();
  } else if (size < length) {
    context_.quota.take_back(length - size, 0);
  }
  if (handle.upload) {
    handle.upload->touched = true;
    handle.upload->written.truncate(size);
    handle.upload->hash.truncated(size);
  }
  length = size;
  return true;
}

void Session::fsync(Request& request) {
  const Handle* handle = handle_of(request);
  if (handle == nullptr) return;
  if (handle->kind == Handle::Kind::directory) return reply(request, Code::ok);
  if (::fsync(handle->descriptor()) != 0) {
    // The kernel tells of it once: the fsync of CLOSE would find nothing wrong.
    const int error = errno;
    if (handle->upload) handle->upload->broken = true;
    return reply_errno(request, error);
  }
  reply(request, Code::ok);
}

void Session::copy_data(Request& request) {
  Handle* from = handle_of(request);
  if (from == nullptr) return;
  std::uint64_t offset = request.reader.u64();
  const std::uint64_t wanted = request.reader.u64();
  Handle* to = handle_of(request);
  if (to == nullptr) return;
  std::uint64_t target = request.reader.u64();
  if (request.reader.bad()) return reply(request, Code::bad_message);
  if (!from->readable || !to->writable) return reply(request, Code::permission_denied);
  // Copies do not cross areas, and a file is not copied onto itself.
  if (from->path.area() != to->path.area()) return reply(request, Code::permission_denied);
  if (from->path.text() == to->path.text())
    return reply(request, Code::failure, "Source and target are one file");
  const base::PageBuffer buffer(max_data);
  std::uint64_t left = wanted == 0 ? largest_offset : wanted;  // 0 is "to the end"
  while (left > 0 && offset < largest_offset) {
    if (context_.broker.ended()) throw BrokerError("The daemon has ended this session.");
    if (context_.peer_gone && context_.peer_gone()) return reply(request, Code::failure);
    if (context_.quota.owes_report()) context_.quota.report();
    const ssize_t count =
        ::pread(from->descriptor(), buffer.data(), std::min<std::uint64_t>(left, buffer.size()),
                static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return reply_errno(request, errno);
    if (count == 0) break;
    const auto piece = buffer.first(static_cast<std::size_t>(count));
    std::string_view why;
    if (write_at(*to, target, piece, why) != Code::ok) {
      return why.empty() ? reply_errno(request, errno) : refuse(request, to->path, why);
    }
    offset += piece.size();
    target += piece.size();
    left -= piece.size();
  }
  reply(request, Code::ok);
}

}  // namespace sallyport::sftp
