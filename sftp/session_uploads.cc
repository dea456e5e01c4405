// What OPEN, CLOSE and RENAME mean in /Incoming (spec/gateway.md 4).
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include "sftp/session.h"

namespace sallyport::sftp {
namespace {

constexpr std::chrono::seconds answer_deadline{10};
constexpr std::string_view marker_suffix = ".done";
constexpr std::string_view not_recorded = "The file could not be recorded; please send it again";

std::uint64_t milliseconds_since(std::chrono::steady_clock::time_point start) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::steady_clock::now() - start)
                                        .count());
}

}  // namespace

bool Session::ready(const VirtualPath& path) const {
  return !is_not_ready(path.name(), context_.login.policy.not_ready_patterns);
}

std::optional<VirtualPath> Session::data_of_marker(const VirtualPath& path) const {
  const std::string& name = path.text();
  if (context_.login.policy.trigger != Trigger::marker || !name.ends_with(marker_suffix))
    return std::nullopt;
  return VirtualPath::resolve("/", name.substr(0, name.size() - marker_suffix.size()));
}

std::optional<TakenFiles::Taken> Session::taken(const VirtualPath& path,
                                                std::int64_t set_modified) {
  if (path.area() != Area::incoming || path.depth() < 2) return std::nullopt;
  // The next marker of the name is awaited.
  if (const auto data = data_of_marker(path); data && context_.tree.status(*data))
    return std::nullopt;
  if (TakenFiles::Taken* own = context_.taken.find(path.text())) {
    if (set_modified != 0) {
      own->modified = set_modified;
      (void)context_.broker.ask<TakenAnswer>(TakenQuery{path.text(), set_modified, false, 0},
                                             answer_deadline);
    }
    return *own;
  }
  const auto answer = context_.broker.ask<TakenAnswer>(
      TakenQuery{path.text(), set_modified, false, 0}, answer_deadline);
  if (!answer.taken) return std::nullopt;
  return TakenFiles::Taken{answer.size, answer.modified, {}};
}

Session::Handle* Session::upload_under_way(const VirtualPath& path) {
  for (const auto& handle : handles_) {
    if (handle->kind == Handle::Kind::upload && handle->path.text() == path.text())
      return handle.get();
  }
  return nullptr;
}

void Session::open_upload(Request& request, const VirtualPath& path, std::uint32_t flags) {
  const std::optional<struct stat> there = context_.tree.status(path);
  if (!there && errno != ENOENT) return reply_errno(request, errno);
  if (there && S_ISDIR(there->st_mode)) return reply_errno(request, EISDIR);
  if (there && (flags & open_flag::exclusive) != 0) return reply_errno(request, EEXIST);
  const bool fresh = (flags & open_flag::truncate) != 0;
  if (!there && !fresh && !data_of_marker(path) && taken(path)) {
    return reply(request, Code::permission_denied,
                 "The file was received already and cannot be changed any more");
  }
  if (!there && (flags & (open_flag::create | open_flag::truncate)) == 0)
    return reply(request, Code::no_such_file);
  const bool resumes = there && !fresh;
  if (!resumes && !context_.quota.take(0, 1)) return refuse(request, path, Quota::no_more_files);

  Handle* handle = new_handle(request, Handle::Kind::upload, path);
  if (handle == nullptr) {
    if (!resumes) context_.quota.take_back(0, 1);
    return;
  }
  // The folder must be there: a staging file does not show whether it is.
  if (context_.tree.parent(path) >= 0) {
    handle->upload = resumes ? context_.staging.resume(path, Staging::Use::write)
                             : context_.staging.create(path);
  }
  if (!handle->upload) {
    const int error = errno;
    release(*handle);
    if (!resumes) context_.quota.take_back(0, 1);
    return reply_errno(request, error);
  }
  handle->readable = (flags & open_flag::read) != 0;
  handle->writable = true;
  handle->append = (flags & open_flag::append) != 0;
  reply_handle(request, *handle);
}

void Session::leave_partial(Upload& upload) {
  const Staging::Kept kept = context_.staging.keep_partial(upload);
  if (kept.replaced) context_.quota.give(*kept.replaced, 1);
  tell(FileEventKind::partial, upload.path, upload.size, milliseconds_since(upload.started),
       kept.shown ? std::string() : upload.staging_name, {}, false);
}

void Session::abandon(Handle& handle) {
  if (handle.upload) {
    leave_partial(*handle.upload);
  } else if (handle.kind == Handle::Kind::file && handle.writable) {
    tell(FileEventKind::upload, handle.path, handle.bytes_written,
         milliseconds_since(handle.opened), "the connection ended before the file was closed", {},
         false);
  } else if (handle.kind == Handle::Kind::file) {
    tell(FileEventKind::download, handle.path, handle.bytes_read, milliseconds_since(handle.opened),
         {}, {}, false);
  }
}

void Session::close_upload(Request& request, Handle& handle) {
  if (!handle.upload->complete()) {
    leave_partial(*handle.upload);
    return reply(request, Code::failure,
                 "The file is not complete: parts of it were never written");
  }
  const Outcome outcome = finish_upload(handle.upload);
  if (outcome.code == Code::ok) ++context_.counters.files_received;
  reply(request, outcome.code, outcome.message);
}

// Of a file that nobody uploads now. A partial stays one, whatever its name; a complete file stays
// complete. None gets longer: nobody has sent that, and it would look as if somebody had.
void Session::resize_waiting(Request& request, const VirtualPath& path, const Attributes& wanted) {
  Handle file;
  file.path = path;
  file.upload = context_.staging.resume(path, Staging::Use::take);
  if (!file.upload) return reply_errno(request, errno);
  Upload& upload = *file.upload;
  const bool complete = upload.touched;
  const bool longer = wanted.size > upload.size;
  std::string_view why;
  const bool done = !longer && resize(file, wanted.size, why) && set_times(upload.fd.get(), wanted);
  const int error = errno;
  const std::uint64_t size = upload.size;
  if (complete ? !context_.staging.place_complete(upload, RENAME_NOREPLACE) : true) {
    leave_partial(upload);
    if (complete) return reply(request, Code::failure, not_recorded);
  } else {
    tell(FileEventKind::waiting, path, size, 0, done ? resized_to(size) : std::string());
    // Its marker may have come while it was not there to be seen.
    if (context_.login.policy.trigger == Trigger::marker && ready(path)) (void)appeared(path);
  }
  if (done) return reply(request, Code::ok);
  if (longer) return refuse(request, path, "A file here gets longer only by what is written to it");
  reply_errno(request, error);
}

Session::Outcome Session::finish_upload(std::unique_ptr<Upload>& upload) {
  const SessionPolicy& policy = context_.login.policy;
  const VirtualPath path = upload->path;
  if (ready(path) && policy.trigger == Trigger::close) {
    Outcome outcome = take(upload);
    if (upload) leave_partial(*upload);
    return outcome;
  }
  const std::uint64_t size = upload->size;
  const std::uint64_t duration = milliseconds_since(upload->started);
  const auto replaced = context_.tree.status(path);
  if (!context_.staging.place_complete(*upload)) {
    leave_partial(*upload);
    return {Code::failure, std::string(not_recorded)};
  }
  upload.reset();
  if (replaced) context_.quota.give(static_cast<std::uint64_t>(replaced->st_size), 1);
  tell(FileEventKind::waiting, path, size, duration);
  return policy.trigger == Trigger::marker && ready(path) ? appeared(path) : Outcome{};
}

// With the marker trigger: a complete file with a ready name has come into the tree, which may be a
// marker, or what a marker waits for.
Session::Outcome Session::appeared(const VirtualPath& path) {
  std::string data = path.text();
  std::string marker = data + std::string(marker_suffix);
  if (path.name().size() > marker_suffix.size() && path.name().ends_with(marker_suffix)) {
    marker = data;
    data.resize(data.size() - marker_suffix.size());
  }
  const auto data_path = VirtualPath::resolve("/", data);
  const auto marker_path = VirtualPath::resolve("/", marker);
  if (!data_path || !marker_path) return {};
  const auto file = context_.tree.status(*data_path);
  const auto mark = context_.tree.status(*marker_path);
  const auto whole = [](const std::optional<struct stat>& status) {
    return status && S_ISREG(status->st_mode) && !is_partial(status->st_mode);
  };
  if (!whole(file) || !whole(mark)) return {};
  Outcome outcome = take_from_tree(*data_path, *data_path);
  if (outcome.code == Code::ok) use_up(*marker_path, *mark);
  return outcome;
}

// Clients look after what they have put here, a marker, too, and over any of their connections.
void Session::use_up(const VirtualPath& marker, const struct stat& status) {
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const std::int64_t modified = status.st_mtim.tv_sec;
  context_.taken.add(marker.text(), size, modified);
  (void)context_.broker.ask<TakenAnswer>(TakenQuery{marker.text(), modified, true, size},
                                         answer_deadline);
  if (context_.tree.remove_file(marker)) context_.quota.give(size, 1);
}

Session::Outcome Session::take_from_tree(const VirtualPath& path, const VirtualPath& as) {
  if (!context_.tree.status(path)) return {Code::no_such_file, {}};
  auto upload = context_.staging.resume(path, Staging::Use::take);
  if (upload && !upload->complete()) {
    leave_partial(*upload);
    upload.reset();
  }
  if (!upload) return {Code::failure, std::string(not_recorded)};
  // It was complete and stays so, under the name it had.
  const auto put_back = [this, &upload, &path] {
    upload->path = path;
    return context_.staging.place_complete(*upload, RENAME_NOREPLACE);
  };
  upload->path = as;
  try {
    Outcome outcome = take(upload);
    if (upload && !put_back()) leave_partial(*upload);
    return outcome;
  } catch (const BrokerError&) {
    if (upload) (void)put_back();
    throw;
  }
}

// On failure `upload` is still there, in staging/, unless it is unknown what became of it.
Session::Outcome Session::take(std::unique_ptr<Upload>& upload) {
  const VirtualPath path = upload->path;
  const Outcome failure{Code::failure, std::string(not_recorded)};
  // A large file that was resumed is read again, which may take longer than a suspension may.
  const auto digest = upload->hash.finish(upload->fd.get(), upload->size, [this] {
    if (context_.quota.owes_report()) context_.quota.report();
    return context_.broker.ended();
  });
  if (!digest) return failure;
  UploadDone done;
  done.file_id = base::random_id();
  done.path = path.text();
  done.size = upload->size;
  done.sha256 = *digest;
  const std::uint64_t lines = context_.intents.lines();
  const bool durable = context_.intents.add({done.file_id, done.path, done.size, done.sha256});
  done.line = context_.intents.lines();
  if (!durable) {
    if (done.line > lines) context_.broker.send(done);
    return failure;
  }
  done.in_spool = context_.staging.move_to_spool(*upload, done.file_id);
  if (!done.in_spool) {
    (void)context_.staging.move_back(*upload, done.file_id);
    context_.broker.send(done);
    return failure;
  }
  // The file and all that is to be known of it are durable: it is received, whatever happens now.
  const std::unique_ptr<Upload> spooled = std::move(upload);
  struct stat status {};
  if (::fstat(spooled->fd.get(), &status) != 0) status.st_mtim.tv_sec = ::time(nullptr);
  done.duration_ms = milliseconds_since(spooled->started);
  done.modified = status.st_mtim.tv_sec;
  context_.broker.send(done);
  context_.taken.add(path.text(), spooled->size, done.modified);
  // The partial that an earlier try left under the name is obsolete now; a complete file is a later
  // one, of another session.
  const auto left = context_.tree.status(path);
  if (left && S_ISREG(left->st_mode) && is_partial(left->st_mode) &&
      context_.tree.remove_file(path)) {
    context_.quota.give(static_cast<std::uint64_t>(left->st_size), 1);
  }
  return {};
}

void Session::rename_incoming(Request& request, const VirtualPath& from, const VirtualPath& to,
                              bool replace) {
  const SessionPolicy& policy = context_.login.policy;
  const auto source = context_.tree.status(from);
  if (!source) {
    if (!taken(from)) return reply(request, Code::no_such_file);
    return reply(request, Code::no_such_file,
                 "The file was received already and cannot be renamed any more");
  }
  if (S_ISDIR(source->st_mode)) {
    // A folder stays below its object, or its files would change theirs.
    if (!permit(request, Operation::make_directory, from) ||
        !permit(request, Operation::make_directory, to))
      return;
    if (from.part(1) != to.part(1)) return reply(request, Code::permission_denied);
    if (!context_.tree.rename(from, to, RENAME_NOREPLACE)) return reply_errno(request, errno);
    tell(FileEventKind::rename, from, 0, 0, {}, to.text());
    return reply(request, Code::ok);
  }
  const auto target = context_.tree.status(to);
  const bool partial = is_partial(source->st_mode);
  // The rename of version 3 replaces nothing. A partial is nothing that anybody waits for.
  if (target && (S_ISDIR(target->st_mode) || (!replace && !is_partial(target->st_mode)))) {
    return reply_errno(request, EEXIST);
  }
  if (partial && ready(to)) {
    return refuse(request, from,
                  "The file is not complete and cannot be given its final name; send it again");
  }
  const bool takes = !partial && ready(to) && policy.trigger != Trigger::marker;
  if (takes && from.text() != to.text()) {
    const Outcome outcome = take_from_tree(from, to);
    if (outcome.code == Code::ok) {
      ++context_.counters.files_received;
      tell(FileEventKind::rename, from, 0, 0, {}, to.text());
    }
    return reply(request, outcome.code, outcome.message);
  }
  if (!context_.tree.rename(from, to, 0) || !context_.tree.sync_parent(to))
    return reply_errno(request, errno);
  // A file that replaces itself frees nothing.
  if (target && from.text() != to.text())
    context_.quota.give(static_cast<std::uint64_t>(target->st_size), 1);
  tell(FileEventKind::rename, from, 0, 0, {}, to.text());
  if (partial || policy.trigger != Trigger::marker || !ready(to)) return reply(request, Code::ok);
  const Outcome outcome = appeared(to);
  reply(request, outcome.code, outcome.message);
}

}  // namespace sallyport::sftp
