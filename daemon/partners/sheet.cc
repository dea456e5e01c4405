#include "daemon/partners/sheet.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "daemon/config/options.h"
#include "daemon/partners/broker_server.h"
#include "notify/escape.h"
#include "sftp/algorithms.h"

namespace sallyport::daemon {
namespace {

// A document as blocks; each format draws them its own way.
struct Block {
  enum Kind { title, heading, paragraph, items, code, facts } kind;
  std::string text;
  std::vector<std::string> lines;
  std::vector<std::pair<std::string, std::string>> pairs;
};

class Document {
 public:
  void title(std::string text) { add(Block::title).text = std::move(text); }
  void heading(std::string text) { add(Block::heading).text = std::move(text); }
  void paragraph(std::string text) { add(Block::paragraph).text = std::move(text); }
  void items(std::vector<std::string> lines) { add(Block::items).lines = std::move(lines); }
  void code(std::string text) { add(Block::code).text = std::move(text); }
  void facts(std::vector<std::pair<std::string, std::string>> pairs) {
    add(Block::facts).pairs = std::move(pairs);
  }
  [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }

 private:
  Block& add(Block::Kind kind) {
    blocks_.push_back({kind, {}, {}, {}});
    return blocks_.back();
  }
  std::vector<Block> blocks_;
};

std::string size_text(std::uint64_t bytes) {
  if (bytes >= 1ULL << 30 && bytes % (1ULL << 30) == 0) return fmt::format("{} GiB", bytes >> 30);
  if (bytes >= 1ULL << 20 && bytes % (1ULL << 20) == 0) return fmt::format("{} MiB", bytes >> 20);
  return fmt::format("{} bytes", bytes);
}

// SSH's own lists, with spaces for people.
std::string spaced(std::string_view list) {
  std::string out;
  for (const char c : list) {
    out += c;
    if (c == ',') out += ' ';
  }
  return out;
}

// "14 days", "1 hour", "90 seconds"
std::string duration_text(base::Seconds length) {
  constexpr std::pair<std::int64_t, const char*> units[] = {
      {86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
  for (const auto& [seconds, name] : units) {
    if (length.count() % seconds != 0 || length.count() < seconds) continue;
    const std::int64_t count = length.count() / seconds;
    return fmt::format("{} {}{}", count, name, count == 1 ? "" : "s");
  }
  return "0 seconds";
}

std::string auth_text(const std::string& auth) {
  if (auth == "key") return "with your SSH key";
  if (auth == "password") return "with your password";
  if (auth == "key+password") return "with your SSH key and then your password: both are needed";
  return "with your SSH key, or with a password if one was agreed";
}

std::string encryption_text(const PartnerPolicy& policy) {
  if (policy.encryption == "required") {
    return "Every file must be encrypted to our PGP key below, by its name (no hidden recipients); "
           "others are not processed. Only an encrypted file is protected against being cut short "
           "on its way: one whose upload was interrupted is noticed and not processed.";
  }
  if (policy.encryption == "forbidden") {
    return "Files must not be encrypted. Mind that only an encrypted file is protected against "
           "being cut short on its way: a plain file whose upload was interrupted looks complete "
           "to us.";
  }
  return "Please encrypt files to our PGP key below: only an encrypted file is protected against "
         "being cut short on its way. A plain file whose upload was interrupted looks complete to "
         "us.";
}

std::string signature_text(const SheetFacts& facts, const PartnerPolicy& of) {
  const bool can_sign = std::any_of(facts.partner.pgp_keys.begin(), facts.partner.pgp_keys.end(),
                                    [](const store::PgpKey& key) { return key.can_sign; });
  const std::string& policy = of.signature;
  if (policy == "required" || (policy == "auto" && can_sign)) {
    return "Every file must be signed by one of your PGP keys that we know (listed below).";
  }
  return "A signature is not required; one that is there must be good.";
}

std::string trigger_text(const PartnerPolicy& policy) {
  if (policy.trigger == "rename") {
    return "A file is taken when you rename it to its final name after the upload.";
  }
  if (policy.trigger == "marker") {
    return "A file NAME is taken when an empty file NAME.done appears beside it.";
  }
  return "A file is taken as soon as its upload ends. To upload under a name that is not taken "
         "yet, "
         "use one of " +
         fmt::format("{}", fmt::join(policy.not_ready, ", ")) +
         " and rename it when it is complete.";
}

void connection(const SheetFacts& facts, Document& document) {
  document.heading("Connection");
  std::vector<std::pair<std::string, std::string>> pairs = {
      {"Protocol", "SFTP (SSH file transfer, version 3)"},
      {"Host", facts.host},
      {"Port", std::to_string(facts.port)},
      {"User", facts.partner.partner.name},
      {"Log in", auth_text(facts.partner.partner.auth)},
      {"Start folder", facts.policy.start_directory}};
  if (!facts.addresses.empty()) {
    pairs.emplace_back(
        "Allow in your firewall",
        fmt::format("{}, TCP port {}", fmt::join(facts.addresses, ", "), facts.port));
  }
  if (!facts.partner.partner.allowed_ips.empty()) {
    pairs.emplace_back("We accept you from",
                       fmt::format("{}", fmt::join(facts.partner.partner.allowed_ips, ", ")));
  }
  document.facts(std::move(pairs));
  document.heading("Our host keys");
  if (facts.host_keys.empty()) {
    document.paragraph("They are not known at the moment: the SFTP server is not running.");
  } else {
    document.paragraph("Compare one of these fingerprints at your first connection:");
    std::vector<std::string> lines;
    for (const sftp::HostKeyLine& key : facts.host_keys) {
      lines.push_back(fmt::format("{}  {}  ({}){}", key.algorithm, key.sha256, key.md5,
                                  key.staged ? "  from the next rotation on" : ""));
    }
    document.items(std::move(lines));
    document.paragraph("For a known_hosts file:");
    std::string known;
    const std::string host =
        facts.port == 22 ? facts.host : fmt::format("[{}]:{}", facts.host, facts.port);
    for (const sftp::HostKeyLine& key : facts.host_keys)
      known += host + " " + key.public_line + "\n";
    document.code(known);
  }
  document.heading("Your keys that we know");
  std::vector<std::string> keys;
  for (const store::SshKey& key : facts.partner.ssh_keys) {
    std::string line = fmt::format("SSH {}  {}", key.type, key.fingerprint);
    if (!key.label.empty()) line += "  " + key.label;
    if (key.expires) line += "  until " + base::format_date(*key.expires);
    keys.push_back(std::move(line));
  }
  for (const store::PgpKey& key : facts.partner.pgp_keys) {
    std::string line = "PGP  " + key.fingerprint;
    if (!key.label.empty()) line += "  " + key.label;
    if (key.expires) line += "  until " + base::format_date(*key.expires);
    keys.push_back(std::move(line));
  }
  if (keys.empty()) keys.emplace_back("none yet");
  document.items(std::move(keys));
}

void folders(const SheetFacts& facts, Document& document) {
  const PartnerPolicy& policy = facts.policy;
  document.heading("Folders");
  std::vector<std::pair<std::string, std::string>> pairs = {
      {"/Incoming/<Object>", "put your files here"},
      {"/Outgoing/<Object>", "fetch our files here, and delete them when you have them"},
      {"/Archive/Incoming/<Object>",
       fmt::format("what we received, for {}", duration_text(policy.archive_keep))},
      {"/Archive/Failed/<Object>",
       "what could not be processed, each with NAME.reason.txt beside it"}};
  if (policy.shared) pairs.emplace_back("/Shared", "a common area for anything else");
  document.facts(std::move(pairs));
  document.paragraph(fmt::format("Objects: {}.", fmt::join(policy.objects, ", ")));
  document.paragraph(trigger_text(policy));
  document.heading("Encryption and signatures");
  const auto rules = [&facts](const PartnerPolicy& of) {
    return encryption_text(of) + " " + signature_text(facts, of);
  };
  document.paragraph(rules(policy));
  for (const auto& [object, its] : facts.of_objects) {
    if (rules(its) == rules(policy)) continue;
    document.paragraph("In /Incoming/" + object + " instead: " + rules(its));
  }
  for (const store::PgpKey& key : facts.own_keys) {
    if (key.revoked || (key.expires && *key.expires <= facts.now)) continue;
    document.paragraph(
        fmt::format("Our PGP key {}{}:", key.fingerprint,
                    key.expires ? ", until " + base::format_date(*key.expires) : std::string()));
    document.code(key.public_key);
  }
}

void limits(const SheetFacts& facts, Document& document) {
  const PartnerPolicy& policy = facts.policy;
  document.heading("Limits");
  std::vector<std::string> lines = {
      fmt::format("{} connections at once, each with {} open files", policy.connections,
                  policy.handles),
      fmt::format("{} to log in, and {} attempts a connection", duration_text(facts.login_grace),
                  facts.max_attempts),
      fmt::format("a session that does nothing is ended after {}", duration_text(policy.idle)),
      "file names: UTF-8, at most 255 bytes, no control characters",
      fmt::format("uploads that are not finished within {} move to /Archive/Failed",
                  duration_text(policy.waiting_lifetime))};
  if (policy.max_file_bytes != no_limit) {
    lines.push_back("largest file: " + size_text(policy.max_file_bytes));
  }
  if (policy.quota_bytes != no_limit) {
    lines.push_back("all your folders together: " + size_text(policy.quota_bytes));
  }
  if (policy.quota_files != no_limit) {
    lines.push_back(fmt::format("all your folders together: {} files", policy.quota_files));
  }
  if (policy.bytes_per_second != no_limit) {
    lines.push_back(size_text(policy.bytes_per_second) + " a second and session");
  }
  document.items(std::move(lines));
  document.heading("Algorithms and clients");
  document.items(
      {"your key: RSA of 2048 bits or more, Ed25519, or ECDSA P-256, P-384, P-521; no DSA",
       "our host keys: " + spaced(sftp::host_key_algorithms),
       "signatures: " + spaced(sftp::user_key_algorithms) + "; ssh-rsa (SHA-1) is refused",
       "ciphers: " + spaced(sftp::cipher_algorithms),
       "MACs (for the ciphers that need one): " + spaced(sftp::mac_algorithms),
       "key exchange: " + spaced(sftp::key_exchange_algorithms)});
  document.paragraph(
      "Known to work: OpenSSH sftp, PuTTY psftp, lftp, rclone, sshfs, paramiko and asyncssh "
      "(Python), ssh2-sftp-client (Node.js). By their documentation, WinSCP, FileZilla, the JSch "
      "of com.github.mwiede and Apache MINA (Java), SSH.NET. Not: clients that can only sign RSA "
      "with SHA-1, such as curl with libssh2 before "
      "1.11 and the original JSch.");
  document.heading("Example");
  const std::string port = facts.port == 22 ? "" : fmt::format(" -P {}", facts.port);
  const std::string object = policy.objects.empty() ? "" : "/" + policy.objects.front();
  const std::string key = facts.partner.partner.auth == "password" ? "" : " -i id_ed25519";
  document.code(
      fmt::format("$ sftp{}{} {}@{}\nsftp> put example.csv.pgp /Incoming{}/\n"
                  "sftp> ls /Archive/Incoming{}\nsftp> get /Outgoing{}/*\nsftp> bye\n",
                  port, key, facts.partner.partner.name, facts.host, object, object, object));
}

std::string wrapped(std::string_view text, std::size_t width) {
  std::string out;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    if (column > 0 && column + 1 + word.size() > width) {
      out += '\n';
      column = 0;
    }
    if (column > 0) out += ' ';
    out += word;
    column += word.size() + (column > 0 ? 1 : 0);
    text = space == text.npos ? std::string_view{} : text.substr(space + 1);
  }
  return out;
}

std::string as_text(const Document& document) {
  std::string out;
  for (const Block& block : document.blocks()) {
    switch (block.kind) {
      case Block::title:
        out += block.text + "\n" + std::string(block.text.size(), '=') + "\n";
        break;
      case Block::heading:
        out += "\n" + block.text + "\n" + std::string(block.text.size(), '-') + "\n";
        break;
      case Block::paragraph:
        out += "\n" + wrapped(block.text, 100) + "\n";
        break;
      case Block::items:
        for (const std::string& line : block.lines) out += "  * " + line + "\n";
        break;
      case Block::code:
        out += "\n" + block.text;
        if (!block.text.empty() && block.text.back() != '\n') out += "\n";
        break;
      case Block::facts: {
        std::size_t width = 0;
        for (const auto& pair : block.pairs) width = std::max(width, pair.first.size());
        for (const auto& pair : block.pairs) {
          out += fmt::format("  {:<{}}  {}\n", pair.first, width, pair.second);
        }
        break;
      }
    }
  }
  return out;
}

std::string markdown_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\`*_{}[]<>#|").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string as_markdown(const Document& document) {
  std::string out;
  for (const Block& block : document.blocks()) {
    switch (block.kind) {
      case Block::title:
        out += "# " + markdown_escaped(block.text) + "\n";
        break;
      case Block::heading:
        out += "\n## " + markdown_escaped(block.text) + "\n";
        break;
      case Block::paragraph:
        out += "\n" + markdown_escaped(block.text) + "\n";
        break;
      case Block::items:
        out += "\n";
        for (const std::string& line : block.lines) out += "- " + markdown_escaped(line) + "\n";
        break;
      case Block::code:
        out += "\n```\n" + block.text;
        if (!block.text.empty() && block.text.back() != '\n') out += "\n";
        out += "```\n";
        break;
      case Block::facts:
        out += "\n| | |\n| --- | --- |\n";
        for (const auto& pair : block.pairs) {
          out += fmt::format("| {} | {} |\n", markdown_escaped(pair.first),
                             markdown_escaped(pair.second));
        }
        break;
    }
  }
  return out;
}

std::string as_html(const Document& document) {
  std::string body;
  std::string title;
  for (const Block& block : document.blocks()) {
    const std::string text = notify::html_escape(block.text);
    switch (block.kind) {
      case Block::title:
        title = text;
        body += "<h1>" + text + "</h1>\n";
        break;
      case Block::heading:
        body += "<h2>" + text + "</h2>\n";
        break;
      case Block::paragraph:
        body += "<p>" + text + "</p>\n";
        break;
      case Block::items:
        body += "<ul>\n";
        for (const std::string& line : block.lines)
          body += "<li>" + notify::html_escape(line) + "</li>\n";
        body += "</ul>\n";
        break;
      case Block::code:
        body += "<pre>" + text + "</pre>\n";
        break;
      case Block::facts:
        body += "<table>\n";
        for (const auto& pair : block.pairs) {
          body += "<tr><th>" + notify::html_escape(pair.first) + "</th><td>" +
                  notify::html_escape(pair.second) + "</td></tr>\n";
        }
        body += "</table>\n";
        break;
    }
  }
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>" + title +
         "</title>\n<style>\n"
         "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 "
         "1rem}\n"
         "h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ccc}\n"
         "pre{background:#f4f4f4;padding:.8rem;overflow-x:auto;font-size:.85rem}\n"
         "table{border-collapse:collapse}th{text-align:left;padding:.2rem 1.5rem .2rem 0;"
         "vertical-align:top;white-space:nowrap}td{padding:.2rem 0}\n"
         "</style>\n</head>\n<body>\n" +
         body + "</body>\n</html>\n";
}

}  // namespace

std::string public_host(const Config& config) {
  if (!config.gateway.public_host.empty()) return config.gateway.public_host;
  std::array<char, 256> buffer{};
  return ::gethostname(buffer.data(), buffer.size() - 1) == 0 ? buffer.data() : "localhost";
}

std::string render_sheet(const SheetFacts& facts, SheetFormat format) {
  Document document;
  document.title(fmt::format("File exchange with {}: how {} connects", facts.organization,
                             facts.partner.partner.name));
  connection(facts, document);
  folders(facts, document);
  limits(facts, document);
  switch (format) {
    case SheetFormat::text:
      break;
    case SheetFormat::markdown:
      return as_markdown(document);
    case SheetFormat::html:
      return as_html(document);
  }
  return as_text(document);
}

void add_sheet_route(Router& router, PartnerService& partners, const LiveConfig& config,
                     BrokerServer* broker) {
  router
      .add(Method::get, "/rest/organizations/{org}/partners/{name}/sheet",
           Access::privilege("PLATFORM/PARTNER/VIEW"),
           [&partners, &config, broker](const Request& request, const Params& params) {
             const auto now = config.get();
             SheetFacts facts;
             facts.partner = partners.get(params["name"]);
             facts.policy = policy_for(*now, facts.partner.partner);
             for (const std::string& object : facts.policy.objects) {
               facts.of_objects.emplace_back(object,
                                             policy_for(*now, facts.partner.partner, object));
             }
             facts.organization = now->organization;
             facts.host = public_host(*now);
             facts.port = now->gateway.public_port;
             facts.addresses = now->gateway.public_addresses;
             facts.own_keys = partners.own_keys();
             facts.now = partners.now();
             facts.login_grace = now->gateway.login_grace;
             facts.max_attempts = now->gateway.max_attempts;
             if (broker != nullptr) facts.host_keys = broker->front().host_keys;
             const std::string_view format = request.query_value("format").value_or("text");
             if (format == "html") {
               return text_response(200, render_sheet(facts, SheetFormat::html),
                                    "text/html; charset=utf-8");
             }
             if (format == "markdown") {
               return text_response(200, render_sheet(facts, SheetFormat::markdown),
                                    "text/markdown; charset=utf-8");
             }
             if (format != "text") {
               throw ProblemError(400, "INVALID_FORMAT",
                                  "format is one of text, markdown and html.");
             }
             return text_response(200, render_sheet(facts, SheetFormat::text));
           })
      .describe("What to send a partner, so that it can connect")
      .query("format", "text, markdown or html")
      .answers(200)
      .answers(404);
}

}  // namespace sallyport::daemon
