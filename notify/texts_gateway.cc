// The words about credentials, files, expectations and the gateway's own health.
#include <fmt/format.h>

#include "notify/content.h"
#include "notify/escape.h"

namespace sallyport::notify {
namespace {

using base::Instant;
using base::Seconds;

const CredentialFacts& credential_of(const Facts& facts) {
  static const CredentialFacts none;
  return facts.credential ? *facts.credential : none;
}

const FileFacts& file_of(const Facts& facts) {
  static const FileFacts none;
  return facts.file ? *facts.file : none;
}

bool for_partner(const Facts& facts) {
  return facts.role == Role::partner_contact;
}

std::string partner_word(const Facts& facts) {
  return shell_word(clean_line(facts.partner, 32));
}

/// What a credential is called, what stops working without it and how it is replaced.
struct CredentialWords {
  std::string_view type;
  std::string_view name;
  std::string_view consequence;
  std::string_view renewal;
  std::string_view command;
  std::string_view partner_renewal;  // empty: a partner's contacts are never told of this type
};

constexpr CredentialWords credential_words[] = {
    {"ssh_key", "SSH key", "the partner cannot log in with it any more",
     "Ask the partner for a new public key and add it beside the old one; both work until the old "
     "one ends:",
     "sallyportctl partner ssh-key add {} FILE",
     "Make a new key pair (ssh-keygen -t ed25519, or RSA of at least 2048 bits) and send us the "
     "public half. Both keys work side by side until the old one ends."},
    {"pgp_key", "PGP key",
     "files signed with it are refused and files for the partner cannot be encrypted to it",
     "Ask the partner for a new or extended public key and add it beside the old one:",
     "sallyportctl partner pgp-key add {} FILE",
     "Extend the key or make a new one, and send us the public key. Old and new work side by side "
     "until the old one ends."},
    {"password", "password", "the partner cannot log in with it any more",
     "Set a new password and give it to the partner on a safe way:",
     "sallyportctl partner password {}",
     "Ask the gateway's administrators for a new password, or move to an SSH key."},
    {"own_pgp_key", "PGP key of the gateway",
     "partners can no longer encrypt to it and what it signs is refused by them",
     "Make or extend the key in good time and send its public half to every partner:",
     "sallyportctl pgp list", ""},
    {"tls_certificate", "TLS certificate", "callers of the HTTP interface refuse to connect",
     "Have the certificate renewed, put it in place and reload:", "systemctl reload sallyportd",
     ""},
    {"access_token", "access token", "calls of the management interface with it are refused",
     "Make a new token, put it where the old one is used, then revoke the old one:",
     "sallyportctl admin token create OWNER", ""},
    {"gateway_token", "gateway token", "the API gateway that uses it gets no answer to /verify",
     "Make a new token, put it into the gateway's configuration, then revoke the old one:",
     "sallyportctl gateway-token create", ""},
    {"host_key", "SSH host key of the gateway", "clients that check it refuse to connect",
     "Stage the next host key, announce its fingerprint to the partners, then switch:", "", ""},
};

const CredentialWords& words_for(std::string_view type) {
  static constexpr CredentialWords unknown{
      "", "credential", "what depends on it stops working", "Replace it before then.", "", ""};
  for (const CredentialWords& words : credential_words)
    if (words.type == type) return words;
  return unknown;
}

void file_rows(Content& content, const Facts& facts) {
  const FileFacts& file = file_of(facts);
  add_row(content.rows, "File", file.name);
  add_row(content.rows, "Partner", facts.partner);
  add_row(content.rows, "Object", file.object);
  add_row(content.rows, "File ID", file.id, true);
  add_row(content.rows, "Size", size_in_words(file.size));
  add_row(content.rows, "SHA-256", file.sha256, true);
}

std::string files_command(std::string_view verb, const std::string& id) {
  return fmt::format("sallyportctl files {} {}", verb, shell_word(clean_line(id, 64)));
}

void failed(Content& content, const Facts& facts, Instant now) {
  const FileFacts& file = file_of(facts);
  content.tone = Tone::critical;
  content.subject = fmt::format("File {} from partner {} could not be processed", quoted(file.name),
                                clean_line(facts.partner, 32));
  content.badge = "File not processed";
  content.heading = fmt::format("{} could not be processed", quoted(file.name));
  content.paragraphs.push_back(file.reason.empty() ? "The file was not accepted." : file.reason);
  content.paragraphs.emplace_back(
      "Nothing was deleted: the file as it was received is in /Archive/Failed, with the reason "
      "beside it.");
  if (file.received_at) add_row(content.rows, "Received", moment(*file.received_at, now));
  add_row(content.rows, "Reason", file.reason_code, true);
  file_rows(content, facts);
  if (for_partner(facts)) {
    content.steps.push_back({"Mend the cause and upload the file again under any name."});
    content.steps.push_back(
        {"If you think that the cause is on our side, answer with the file ID above."});
  } else {
    content.steps.push_back({"Look at the file and its history:", files_command("show", file.id)});
    content.steps.push_back(
        {"When the cause is mended on this side (a key was added, say), run it "
         "again; the partner need not send it once more:",
         files_command("retry", file.id)});
  }
}

void duplicate(Content& content, const Facts& facts, Instant now) {
  const FileFacts& file = file_of(facts);
  content.tone = Tone::attention;
  content.subject = fmt::format("File {} from partner {} has been delivered before",
                                quoted(file.name), clean_line(facts.partner, 32));
  content.badge = "Duplicate content";
  content.heading = fmt::format("{} has the content of an earlier file", quoted(file.name));
  content.paragraphs.emplace_back(
      "The file was delivered all the same. This is a warning only: somebody may have sent the "
      "same document twice, or a client repeated an upload whose answer it did not get.");
  if (file.received_at) add_row(content.rows, "Received", moment(*file.received_at, now));
  add_row(content.rows, "Same content as", file.duplicate_of, true);
  if (file.duplicate_received_at)
    add_row(content.rows, "Delivered first", moment(*file.duplicate_received_at, now));
  file_rows(content, facts);
  if (for_partner(facts))
    content.steps.push_back({"If it was sent twice by mistake, tell whoever uses the data."});
  else
    content.steps.push_back({"Compare the two files:", files_command("show", file.id)});
}

void not_collected(Content& content, const Facts& facts, Instant now) {
  const FileFacts& file = file_of(facts);
  const bool returned = facts.kind == Kind::outbound_returned;
  const Instant since = file.received_at.value_or(facts.happened_at);
  const bool downloaded = file.downloaded_at.has_value();
  content.tone = returned && !downloaded ? Tone::critical : Tone::attention;
  const std::string name = quoted(file.name);
  if (returned) {
    content.subject = fmt::format("File {} was {} by partner {} and is in the backup", name,
                                  downloaded ? "downloaded but not deleted" : "never collected",
                                  clean_line(facts.partner, 32));
  } else {
    content.subject = fmt::format(
        "File {} {} since {}", name,
        downloaded ? "was downloaded but not deleted; it is there" : "is waiting for you",
        base::format_date(since));
  }
  if (downloaded) {
    content.badge = "Not deleted";
    content.heading = name + " was downloaded but not deleted";
  } else {
    content.badge = returned ? "Not collected" : "Waiting to be collected";
    content.heading = name + (returned ? " was not collected" : " has not been collected yet");
  }
  if (returned) {
    content.paragraphs.push_back(
        std::string(downloaded ? "The partner downloaded the file but did not delete it"
                               : "The partner did not fetch the file") +
        " in time, so it was moved from /Outgoing to the backup. It is still listed and can be "
        "downloaded by you.");
  } else {
    content.paragraphs.push_back(
        downloaded ? "You downloaded the file, but it still lies in /Outgoing of your SFTP "
                     "account. If you have it in full, please delete it there: that tells us that "
                     "it arrived."
                   : "The file lies in /Outgoing of your SFTP account. Please download it and "
                     "delete it there when you have it.");
  }
  add_row(content.rows, "Available since", moment(since, now));
  if (downloaded) add_row(content.rows, "Downloaded", moment(*file.downloaded_at, now));
  if (!returned && facts.deadline)
    add_row(content.rows, "Kept until", moment(*facts.deadline, now));
  file_rows(content, facts);
  if (returned) {
    content.steps.push_back({downloaded ? "Ask the partner to delete what it has downloaded."
                                        : "Ask the partner whether its collection works."});
    content.steps.push_back({"Where the file is now:", files_command("show", file.id)});
  } else {
    content.steps.push_back(
        {std::string("Log in by SFTP and ") + (downloaded ? "delete" : "fetch") + " the file " +
         (downloaded ? "in" : "from") + " /Outgoing/" + clean_line(file.object, 64) + "."});
  }
}

void held(Content& content, const Facts& facts, Instant now) {
  const FileFacts& file = file_of(facts);
  content.tone = Tone::warning;
  content.subject = fmt::format("File {} for partner {} is held: no usable PGP key",
                                quoted(file.name), clean_line(facts.partner, 32));
  content.badge = "Held";
  content.heading = fmt::format("{} waits for a PGP key", quoted(file.name));
  content.paragraphs.push_back(
      file.reason.empty() ? "The partner's PGP key is missing, expired or revoked." : file.reason);
  content.paragraphs.emplace_back(
      "The file is kept safe and is encrypted and sent by itself as soon as a good key is there.");
  if (file.received_at) add_row(content.rows, "Waiting since", moment(*file.received_at, now));
  file_rows(content, facts);
  if (for_partner(facts))
    content.steps.push_back({"Send us a public PGP key that is valid and can encrypt."});
  else
    content.steps.push_back(
        {"Add the partner's new public key:",
         fmt::format("sallyportctl partner pgp-key add {} FILE", partner_word(facts))});
}

void expectation(Content& content, const Facts& facts, Instant now) {
  static const ExpectationFacts none;
  const ExpectationFacts& missed = facts.expectation ? *facts.expectation : none;
  const std::string object = missed.object.empty() ? "files" : clean_line(missed.object, 64);
  content.tone = Tone::warning;
  content.subject = fmt::format("Expected {} from partner {}: {}", object,
                                clean_line(facts.partner, 32), clean_line(missed.finding, 80));
  content.badge = "Expectation not met";
  content.heading =
      fmt::format("{} from {} did not come as expected", object, clean_line(facts.partner, 32));
  content.paragraphs.push_back(fmt::format("What was found: {}.", clean_line(missed.finding, 300)));
  add_row(content.rows, "Expected", missed.rule);
  add_row(content.rows, "Partner", facts.partner);
  add_row(content.rows, "Object", missed.object);
  if (facts.deadline) add_row(content.rows, "Due", moment(*facts.deadline, now));
  if (for_partner(facts))
    content.steps.push_back(
        {"Check on your side what the upload sent. What is missing is processed as soon as it "
         "arrives."});
  else
    content.steps.push_back(
        {"See what the partner has sent:",
         fmt::format("sallyportctl files list --partner {}", partner_word(facts))});
}

}  // namespace

Content credential_content(const Facts& facts, Instant now) {
  const CredentialFacts& credential = credential_of(facts);
  const CredentialWords& words = words_for(credential.type);
  const Instant deadline = facts.deadline.value_or(facts.happened_at);
  const bool over = facts.kind == Kind::credential_expired;
  const std::string in = relative(deadline, now);
  const std::string of_partner =
      facts.partner.empty() ? "" : fmt::format(" of partner {}", clean_line(facts.partner, 32));
  Content content;
  content.tone = over                                ? Tone::critical
                 : facts.offset <= 2 * base::one_day ? Tone::warning
                                                     : Tone::attention;
  content.subject =
      over ? fmt::format("{} {}{} has expired", words.name, quoted(credential.label), of_partner)
           : fmt::format("{} {}{} expires {} ({})", words.name, quoted(credential.label),
                         of_partner, in, base::format_date(deadline));
  content.badge = over ? "Expired" : "Expires " + in;
  content.heading = fmt::format("{} {} {}", words.name, quoted(credential.label),
                                over ? "has expired" : "will expire soon");
  content.paragraphs.push_back(over ? fmt::format("It ended on {}. Since then {}.",
                                                  base::format_utc(deadline), words.consequence)
                                    : fmt::format("It ends on {}. From then on {}.",
                                                  base::format_utc(deadline), words.consequence));
  add_row(content.rows, over ? "Expired" : "Expires", moment(deadline, now));
  add_row(content.rows, "Kind", std::string(words.name));
  add_row(content.rows, "Label", credential.label);
  add_row(content.rows, "Fingerprint", credential.fingerprint, true);
  add_row(content.rows, "Partner", facts.partner);
  add_row(content.rows, "Owner", credential.owner);
  if (for_partner(facts) && !words.partner_renewal.empty()) {
    content.steps.push_back({std::string(words.partner_renewal)});
  } else {
    std::string command(words.command);
    if (const auto slot = command.find("{}"); slot != std::string::npos)
      command.replace(slot, 2, partner_word(facts));
    content.steps.push_back({std::string(words.renewal), command});
  }
  return content;
}

Content file_content(const Facts& facts, Instant now) {
  Content content;
  switch (facts.kind) {
    case Kind::file_duplicate:
      duplicate(content, facts, now);
      break;
    case Kind::outbound_not_collected:
    case Kind::outbound_returned:
      not_collected(content, facts, now);
      break;
    case Kind::outbound_held:
      held(content, facts, now);
      break;
    case Kind::expectation_missed:
      expectation(content, facts, now);
      break;
    default:
      failed(content, facts, now);
  }
  return content;
}

Content instance_content(const Facts& facts) {
  static const HealthFacts none;
  const HealthFacts& health = facts.health ? *facts.health : none;
  Content content;
  if (facts.kind == Kind::test_message) {
    content.tone = Tone::good;
    content.subject = "Sallyport test message";
    content.badge = "Test";
    content.heading = "Mail from this gateway reaches you";
    content.paragraphs.emplace_back(
        "Somebody asked the gateway to send this message to see whether its mail works. It does.");
    content.steps.push_back({"There is nothing to do."});
    return content;
  }
  const bool cleared = facts.kind == Kind::health_cleared;
  content.tone = cleared ? Tone::good : Tone::critical;
  content.subject = fmt::format("{}: {}", cleared ? "Recovered" : "Gateway needs attention",
                                clean_line(health.sentence, 120));
  content.badge = cleared ? "Recovered" : "Needs attention";
  content.heading = cleared ? "A condition has ended" : "The gateway needs attention";
  content.paragraphs.push_back(health.sentence);
  add_row(content.rows, "Condition", health.condition, true);
  add_row(content.rows, cleared ? "Ended" : "Since", base::format_utc(facts.happened_at));
  if (cleared)
    content.steps.push_back({"There is nothing to do."});
  else
    content.steps.push_back({"See all conditions and what to do:", "sallyportctl status"});
  return content;
}

}  // namespace sallyport::notify
