// What the SFTP side tells the file pipeline. The broker server calls it, daemon/files implements
// it.
//
// Threads: any, several at once. Failures: an Error thrown out of a call means "not recorded": the
// client of that session gets a failure and keeps its partial.
#pragma once

#include <cstdint>
#include <string>

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

/// What the journal keeps of it with each upload, in one line of JSON.
[[nodiscard]] std::string uploader_facts(const SessionPeer& peer);

/// What has become of a line in a session's list of intents (sftp/intents.h).
struct Uploaded {
  std::string id;  ///< 26 base32 characters, and the file's name in the partner's spool
  /// "/Incoming/Invoices/x.csv.pgp". A claim, as all of this is: well-formed, but perhaps of an
  /// object that is not the partner's.
  std::string path;
  std::uint64_t size = 0;
  base::Sha256 sha256{};
  std::uint64_t line = 0;
  bool in_spool = false;
};

class FileJournal {
 public:
  virtual ~FileJournal() = default;

  /// A session is let in, and may write lists of intents from now on.
  virtual void session_began(const SessionPeer& peer, const std::string& session_id) = 0;
  /// The end of an upload. With `in_spool` the file is there, fsynced, and so received. Its row,
  /// its place in the order of these calls, and the pipeline's start follow within milliseconds, or
  /// when the store is back. Throws for what no honest session says: its lists are looked at when
  /// it has ended. Never waits for disk or store.
  virtual void uploaded(const SessionPeer& peer, const std::string& session_id,
                        const Uploaded& upload) = 0;
  /// The session has ended, or was cut off and may yet be at its lists: what they hold beyond what
  /// it said is looked after, and then they are removed. Never waits for disk or store.
  virtual void session_ended(const std::string& session_id, bool cut_off) = 0;

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
