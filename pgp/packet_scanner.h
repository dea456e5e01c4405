// The outer packets of binary OpenPGP data (RFC 4880 and 9580, section 4): what kind of data it is,
// to whom, and whether it ends where it should. Contents are neither decrypted nor decompressed.
//
// Pure: bytes are pushed in, in pieces of any size. Not thread-safe. Nothing fails: whatever comes
// in, there is a report.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pgp/inspect.h"

namespace sallyport::pgp {

class PacketScanner {
 public:
  void feed(std::span<const std::uint8_t> data);

  /// So many bytes may be left out with skip() instead of being fed: the inside of a packet that is
  /// not looked at.
  [[nodiscard]] std::uint64_t skippable() const;
  void skip(std::uint64_t count);

  /// There is no more. Kind::plain if the data does not even begin like OpenPGP; `armoured` is left
  /// to the caller.
  [[nodiscard]] Inspection finish();

 private:
  enum class State { tag, length, body, ignore };
  enum class Stage {
    start,
    session_keys,
    signatures_before,
    one_pass,
    signed_content,
    content,
    keys,
    over,
  };

  void on_tag(std::uint8_t byte);
  void on_length(std::uint8_t byte);
  void begin_body(std::uint64_t length, bool partial);
  void end_chunk();
  void judge_packet();
  void judge_first();
  void read_session_key();
  void fail_plain();
  void fail_malformed();
  [[nodiscard]] bool looks_like_session_key() const;
  [[nodiscard]] bool looks_like_signature() const;
  [[nodiscard]] bool looks_like_one_pass() const;
  [[nodiscard]] bool looks_like_key() const;
  [[nodiscard]] bool looks_like_container() const;

  Inspection report_;
  State state_ = State::tag;
  Stage stage_ = Stage::start;

  std::uint8_t tag_ = 0;
  bool new_format_ = false;
  bool partial_ = false;        // more chunks of this packet follow the current one
  bool indeterminate_ = false;  // the packet goes to the end of the data
  bool in_packet_ = false;      // between the first chunk and the end of a packet
  bool bare_literal_ = false;   // the first packet is a literal, unprotected by anything
  bool judged_ = false;         // judge_packet() has been called for this packet
  std::vector<std::uint8_t> length_octets_;
  std::size_t length_octets_wanted_ = 0;
  std::uint64_t remaining_ = 0;       // of the current chunk
  std::vector<std::uint8_t> prefix_;  // the first bytes of the packet's body
};

}  // namespace sallyport::pgp
