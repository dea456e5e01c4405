// What the SFTP side tells the file pipeline. The broker server calls it, daemon/files implements
// it.
//
// Threads: any, several at once. Failures: an Error thrown out of a call means "not recorded": the
// client of that session gets a failure and keeps its partial.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace sallyport::daemon {

/// Who is on the other side of a session: what the audit keeps of it.
struct SessionPeer {
  std::string partner;
  std::string address;
  std::string banner;
  std::string method;       ///< publickey, password, publickey+password
  std::string fingerprint;  ///< of the SSH key used, or empty
};

struct UploadIntent {
  std::string object;        ///< "" = directly in /Incoming
  std::string name;          ///< may hold '/' where sub-folders are allowed
  std::string virtual_path;  ///< "/Incoming/Invoices/x.csv.pgp"
  std::uint64_t size = 0;
  base::Sha256 sha256{};
  std::string replaces;  ///< an intent of the same session that this one takes the place of, or ""
};

class FileJournal {
 public:
  virtual ~FileJournal() = default;

  /// Records the intent; returns its id after the commit: 26 base32 characters, and the file's name
  /// in the partner's spool.
  [[nodiscard]] virtual std::string begin_upload(const SessionPeer& peer,
                                                 const UploadIntent& intent) = 0;
  /// The file is in the spool under that name, fsynced, and so received. Its row, its place in the
  /// order of these calls, and the pipeline's start follow within milliseconds, or when the store
  /// is back. Throws for an upload that was not begun; never waits for disk or store.
  virtual void finish_upload(const std::string& id) = 0;
  /// The session gave up after begin_upload; nothing is in the spool.
  virtual void abort_upload(const std::string& id) = 0;
  /// A session has ended without a word on these: it may have moved them into the spool.
  virtual void session_ended(const std::vector<std::string>& uploads) = 0;

  /// The partner read a file of /Outgoing (or /Archive) from beginning to end, or a part of it.
  virtual void downloaded(const SessionPeer& peer, const std::string& virtual_path,
                          std::uint64_t bytes, bool complete) = 0;
  /// A partial (broken upload) or a complete file that waits for its ready name or trigger is now
  /// at `virtual_path`: it ages there (spec/gateway.md 4). Waits for nothing: all partners'
  /// sessions are read meanwhile by who calls it.
  virtual void left_waiting(const SessionPeer& /*peer*/, const std::string& /*virtual_path*/,
                            bool /*partial*/) {}
  /// The partner removed a file of /Outgoing, a partial or a not-ready file.
  virtual void deleted(const SessionPeer& peer, const std::string& virtual_path) = 0;
};

}  // namespace sallyport::daemon
