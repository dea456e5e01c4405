// What a stream of bytes is: binary OpenPGP, ASCII armour, a clear-signed text, or none of it.
//
// Pure, like PacketScanner: bytes are pushed in from the first on; any input gives a report.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "pgp/inspect.h"
#include "pgp/packet_scanner.h"

namespace sallyport::pgp {

/// Reads one armoured block (RFC 4880, section 6) and hands what is in it to a PacketScanner.
class ArmourScanner {
 public:
  void feed(std::span<const std::uint8_t> data);
  [[nodiscard]] Inspection finish();

 private:
  enum class State { begin, headers, body, tail, end, text, after, bad };

  void on_line();
  void on_begin_line();
  void on_header_line();
  void on_text_line();
  void on_body(std::uint8_t byte);
  void flush();

  State state_ = State::begin;
  bool clearsigned_ = false;  // the block is, or ends, a clear-signed text
  bool in_signature_ = false;
  bool extra_data_ = false;
  Kind label_ = Kind::encrypted;

  std::string line_;  // the current line as far as it matters
  bool line_is_blank_ = true;
  bool at_line_start_ = true;

  std::uint32_t group_ = 0;
  int group_digits_ = 0;
  std::vector<std::uint8_t> decoded_;
  PacketScanner packets_;
};

class ContentScanner {
 public:
  /// The first piece must hold the first 64 KiB, or all there is.
  static constexpr std::size_t head_size = 65536;

  void feed(std::span<const std::uint8_t> data);
  [[nodiscard]] std::uint64_t skippable() const;
  void skip(std::uint64_t count);
  [[nodiscard]] Inspection finish();

 private:
  enum class Form { undecided, binary, armoured, plain };

  Form form_ = Form::undecided;
  PacketScanner packets_;
  ArmourScanner armour_;
};

}  // namespace sallyport::pgp
