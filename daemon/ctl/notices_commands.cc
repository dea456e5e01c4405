// sallyportctl notices ...: what was sent to whom, what waits, what was given up.
#include <fmt/format.h>

#include <memory>

#include "daemon/ctl/answers.h"
#include "daemon/ctl/command.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {
namespace {

/// Ids are digests: tables show how they begin, and that is enough to name a notice.
constexpr std::size_t id_digits = 64, shown_digits = 12;

struct Filter {
  std::string state, subject, recipient, kind, after;
  unsigned limit = 50;

  void add_options(Command app) {
    app.add_option("--state", state, "Only in this state")
        .one_of(
            {"pending", "claimed", "sent", "failed", "not_applicable", "superseded", "cancelled"});
    app.add_option("--subject", subject, "Only about the key, file or credential of this id");
    app.add_option("--recipient", recipient, "Only to this mail address or webhook");
    app.add_option("--kind", kind, "Only of this kind, such as key_expiring or file_failed");
    app.add_option("--limit", limit, "How many, newest first").within(1, 1000).show_default();
    app.add_option("--after", after, "Go on after the notice of this id");
  }
  [[nodiscard]] std::string query() const {
    std::string text = fmt::format("?limit={}", limit);
    const auto add = [&](const char* key, const std::string& value) {
      if (!value.empty()) text += fmt::format("&{}={}", key, encode(value));
    };
    add("state", state);
    add("subject", subject);
    add("recipient", recipient);
    add("kind", kind);
    add("after", after);
    return text;
  }
};

Style state_style(const std::string& state) {
  if (state == "failed") return Style::bad;
  if (state == "pending" || state == "claimed") return Style::warning;
  if (state == "sent") return Style::good;
  return Style::faint;
}

std::string offset_text(std::int64_t seconds) {
  constexpr std::int64_t hour = 3600, day = 86400;
  if (seconds <= 0) return "";
  if (seconds % day == 0) return fmt::format(" -{}d", seconds / day);
  if (seconds % hour == 0) return fmt::format(" -{}h", seconds / hour);
  return fmt::format(" -{}s", seconds);
}

std::string subject_of(const Json& notice) {
  const std::string name = text_of(notice, "subjectName");
  return name.empty() ? text_of(notice, "subjectId") : name;
}

std::string to_whom(const Json& notice) {
  const std::string recipient = text_of(notice, "recipient");
  if (recipient.empty()) return "nobody";
  return text_of(notice, "channel") == "webhook" ? "webhook " + recipient : recipient;
}

void list(Context& context, const Filter& filter) {
  const Reply reply = context.get(context.org_path("/notices" + filter.query()));
  if (context.print_json(reply)) return;
  const Json answer = parse_json(reply.body);
  Table table({"DUE (UTC)", "STATE", "KIND", "ABOUT", "TO", "TRIES", "ID"});
  for (const Json& notice : items_of(answer["items"])) {
    const std::string state = text_of(notice, "state");
    table.add({time_text(text_of(notice, "due")),
               {state, state_style(state)},
               text_of(notice, "kind") + offset_text(number_of(notice["offset"])),
               subject_of(notice),
               to_whom(notice),
               std::to_string(number_of(notice["attempts"])),
               text_of(notice, "id").substr(0, shown_digits)});
  }
  context.print(table, "No notices.");
  if (const std::string next = text_of(answer, "next"); !next.empty()) {
    context.line("More: add --after " + next, Style::faint);
  }
}

std::string whole_id(Context& context, const std::string& begin) {
  if (begin.size() < 4 || begin.size() >= id_digits) return begin;
  std::string found;
  std::string after;
  do {
    std::string query = "/notices?limit=1000";
    if (!after.empty()) query += "&after=" + encode(after);
    const Json page = parse_json(context.get(context.org_path(query)).body);
    for (const Json& notice : items_of(page["items"])) {
      const std::string id = text_of(notice, "id");
      if (id.compare(0, begin.size(), begin) != 0) continue;
      if (!found.empty()) {
        throw CtlError(exit_usage, "several notices have an id that begins with " + begin);
      }
      found = id;
    }
    after = text_of(page, "next");
  } while (!after.empty());
  return found.empty() ? begin : found;
}

void show(Context& context, const std::string& typed) {
  const std::string id = whole_id(context, typed);
  const Reply reply = context.get(context.org_path("/notices/" + encode(id)));
  if (context.print_json(reply)) return;
  const Json notice = parse_json(reply.body);
  std::vector<std::pair<std::string, Table::Cell>> facts;
  const auto add = [&](const char* label, const std::string& value, Style style = Style::plain) {
    if (!value.empty()) facts.emplace_back(label, Table::Cell(value, style));
  };
  const std::string state = text_of(notice, "state");
  add("kind", text_of(notice, "kind") + offset_text(number_of(notice["offset"])), Style::strong);
  add("about", subject_of(notice));
  add("subject", text_of(notice, "subjectType") + " " + text_of(notice, "subjectId"));
  add("cycle", time_text(text_of(notice, "cycle")));
  add("to", to_whom(notice));
  add("because", text_of(notice, "role"));
  add("state", state, state_style(state));
  add("due", time_text(text_of(notice, "due")));
  add("written", time_text(text_of(notice, "created")));
  add("tries", std::to_string(number_of(notice["attempts"])));
  add("next try", time_text(text_of(notice, "nextAttempt")));
  add("over since", time_text(text_of(notice, "finished")));
  add("last answer", text_of(notice, "answer"));
  add("Message-ID", text_of(notice, "messageId"));
  add("id", text_of(notice, "id"));
  context.print_facts(facts);
}

std::vector<std::string> all_failed(Context& context) {
  std::vector<std::string> ids;
  std::string after;
  do {
    std::string query = "/notices?state=failed&limit=1000";
    if (!after.empty()) query += "&after=" + encode(after);
    const Json page = parse_json(context.get(context.org_path(query)).body);
    for (const Json& notice : items_of(page["items"])) ids.push_back(text_of(notice, "id"));
    after = text_of(page, "next");
  } while (!after.empty());
  return ids;
}

void requeue(Context& context, const std::vector<std::string>& ids, bool all) {
  const std::vector<std::string> wanted = all ? all_failed(context) : ids;
  if (wanted.empty() && !all) {
    throw CtlError(exit_usage, "which ones? Give their ids, or --all for all that failed");
  }
  Json answers = Json::array();
  for (const std::string& id : wanted) {
    const Reply reply =
        context.post("/admin/notices/" + encode(whole_id(context, id)) + "/requeue");
    Json notice = parse_json(reply.body);
    if (!context.json) {
      context.line("Requeued for " + to_whom(notice) + "; it is tried at once.", Style::good);
    }
    answers.push(std::move(notice));
  }
  if (context.json) {
    *context.out << Json::object({{"items", std::move(answers)}}).pretty() << '\n';
  } else if (wanted.empty()) {
    context.line("No notice has failed.", Style::faint);
  }
}

}  // namespace

void add_notices_commands(Command app, Context& context) {
  auto notices = app.add_subcommand("notices", "Notices: sent, waiting, given up");
  notices.require_subcommand();

  auto listing = notices.add_subcommand("list", "Notices, newest first");
  auto filter = std::make_shared<Filter>();
  filter->add_options(listing);
  listing.callback([filter, &context] { list(context, *filter); });

  auto showing = notices.add_subcommand("show", "One notice and what became of it");
  auto id = std::make_shared<std::string>();
  showing.add_option("ID", *id, "The notice's id, or how it begins").required();
  showing.callback([id, &context] { show(context, *id); });

  auto again = notices.add_subcommand("requeue", "Try again what was given up");
  auto ids = std::make_shared<std::vector<std::string>>();
  auto all = std::make_shared<bool>(false);
  auto which = again.add_option("ID", *ids, "Ids of failed notices, or how they begin");
  again.add_flag("--all", *all, "All that have failed").excludes(which);
  again.callback([ids, all, &context] { requeue(context, *ids, *all); });
}

}  // namespace sallyport::daemon::ctl
