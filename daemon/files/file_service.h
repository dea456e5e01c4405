// The file gateway's heart, as the application sees it: made of the journal, the pipeline with both
// directions, the outbound watch and the work that falls due.
//
// Ownership: owns its parts and their threads; refers to what FileContext names. start() when the
// store answers (it reconciles journal and disk first), stop() before any of those ends.
// Threads: everything but start() and stop() from any thread. Failures: see the parts; routes get
// ProblemError.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/files/check.h"
#include "daemon/files/context.h"
#include "daemon/files/expectations.h"
#include "daemon/files/file_tasks.h"
#include "daemon/files/inbound.h"
#include "daemon/files/journal.h"
#include "daemon/files/outbound.h"
#include "daemon/files/outbound_watch.h"
#include "daemon/files/pipeline.h"
#include "daemon/files/retention.h"
#include "daemon/files/waiting_files.h"
#include "daemon/http/router.h"
#include "daemon/scheduler/due_work.h"

namespace sallyport::daemon {

class FileService {
 public:
  explicit FileService(const FileContext& context);
  ~FileService();
  FileService(const FileService&) = delete;
  FileService& operator=(const FileService&) = delete;

  /// For the broker server; may be used before start(): what comes in is processed after it.
  [[nodiscard]] FileJournal& journal() { return journal_; }
  /// What the scheduler drives. Constant.
  [[nodiscard]] std::vector<DueWork*> due_work();

  void start();
  void stop();
  /// A partner was made or changed, or its keys: directories are made and held files tried again.
  void partners_changed();

  [[nodiscard]] const FileContext& context() const { return context_; }
  [[nodiscard]] Pipeline& pipeline() { return pipeline_; }
  [[nodiscard]] CheckReport check() { return Check(context_).check(); }
  /// A failed file goes through the pipeline again, at the end of its line. Of another one, the
  /// hook, webhook or receipt that was given up is tried again.
  [[nodiscard]] store::File retry(const std::string& id, const Caller& caller);

 private:
  void bring_back(const store::File& file) const;
  [[nodiscard]] bool retry_tasks(const store::File& file, const Caller& caller);
  void record_retry(store::Unit& unit, const store::File& file, const Caller& caller) const;

  FileContext context_;
  Inbound inbound_;
  Outbound outbound_;
  Pipeline pipeline_;
  Journal journal_;
  OutboundWatch watch_;
  Retention retention_;
  FileTasks tasks_;
  WaitingFiles waiting_;
  ExpectationWork expectations_;
};

/// GET files, files/{id}, files/{id}/content, POST files/{id}/retry; and for admin.sock
/// POST /admin/files/check, GET /admin/files/outbound.
void add_file_routes(Router& router, FileService& files);

}  // namespace sallyport::daemon
