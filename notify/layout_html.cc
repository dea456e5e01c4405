// HTML that old and new mail readers show alike: tables for the layout, styles on the elements,
// nothing remote. The style sheet in the head only adds what a reader may ignore: dark colours and
// the narrow layout.
#include <fmt/format.h>

#include "notify/content.h"
#include "notify/escape.h"

namespace sallyport::notify {
namespace {

constexpr std::size_t longest_text = 2000;
constexpr std::string_view font =
    "font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;";
constexpr std::string_view mono =
    "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;";

struct Colours {
  std::string_view bar;         // the strip on top, and the button
  std::string_view badge_back;  // the badge
  std::string_view badge_text;
};

/// Each pair has a contrast of at least 4.5 to 1 (WCAG AA).
Colours colours_of(Tone tone) {
  switch (tone) {
    case Tone::good:
      return {"#1a7f37", "#dafbe1", "#116329"};
    case Tone::attention:
      return {"#0a5bb5", "#ddf0ff", "#0a4a94"};
    case Tone::warning:
      return {"#b35900", "#fff1d6", "#7d4000"};
    case Tone::critical:
      return {"#b42318", "#fee4e2", "#912018"};
    case Tone::neutral:
      break;
  }
  return {"#475467", "#eef0f3", "#344054"};
}

std::string text(std::string_view raw) {
  return html_escape(clean_line(raw, longest_text));
}

constexpr std::string_view head = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{subject}</title>
<style>
  @media (max-width: 640px) {{
    .card {{ width: 100% !important; }}
    .pad {{ padding-left: 20px !important; padding-right: 20px !important; }}
    .label, .value {{ display: block !important; width: auto !important; }}
    .label {{ padding-bottom: 0 !important; border-bottom: 0 !important; }}
  }}
  @media (prefers-color-scheme: dark) {{
    .page {{ background-color: #101418 !important; }}
    .card {{ background-color: #1b2128 !important; border-color: #323a44 !important; }}
    .ink {{ color: #e6e9ee !important; }}
    .soft {{ color: #a9b2bf !important; }}
    .web {{ color: #7cb7ff !important; }}
    .line {{ border-color: #323a44 !important; }}
    .code {{ background-color: #12171d !important; border-color: #323a44 !important; color: #e6e9ee !important; }}
  }}
</style>
</head>
)";

constexpr std::string_view opening =
    R"(<body class="page" style="margin:0;padding:0;background-color:#f2f4f7;">
<div style="display:none;max-height:0;overflow:hidden;">{preview}</div>
<table role="presentation" class="page" width="100%" cellpadding="0" cellspacing="0" border="0" style="background-color:#f2f4f7;">
<tr><td align="center" style="padding:24px 12px;">
<table role="presentation" class="card" width="600" cellpadding="0" cellspacing="0" border="0" style="width:600px;max-width:600px;background-color:#ffffff;border:1px solid #e0e4ea;border-radius:10px;border-collapse:separate;overflow:hidden;">
<tr><td height="6" style="height:6px;line-height:6px;font-size:0;background-color:{bar};">&nbsp;</td></tr>
<tr><td class="pad" style="padding:28px 36px 0 36px;">
<span style="display:inline-block;{font}font-size:13px;line-height:18px;font-weight:600;padding:3px 10px;border-radius:12px;background-color:{badge_back};color:{badge_text};">{badge}</span>
<h1 class="ink" style="margin:14px 0 12px 0;{font}font-size:22px;line-height:29px;font-weight:700;color:#17202c;overflow-wrap:anywhere;">{heading}</h1>
)";

void add_paragraphs(std::string& out, const Content& content) {
  for (const std::string& paragraph : content.paragraphs)
    out += fmt::format(
        R"(<p class="ink" style="margin:0 0 12px 0;{}font-size:15px;line-height:23px;color:#27303d;overflow-wrap:anywhere;">{}</p>
)",
        font, text(paragraph));
  out += "</td></tr>\n";
}

void add_rows(std::string& out, const Content& content) {
  if (content.rows.empty()) return;
  out += R"(<tr><td class="pad" style="padding:8px 36px 0 36px;">
<table width="100%" cellpadding="0" cellspacing="0" border="0" style="border-collapse:collapse;">
)";
  for (const Row& row : content.rows) {
    const std::string value = clean_line(row.value, longest_text);
    std::string shown = html_escape(value);
    if (is_web_link(value))
      shown = fmt::format(
          R"(<a class="web" href="{0}" rel="noopener noreferrer nofollow" style="color:#0a5bb5;">{0}</a>)",
          shown);
    out += fmt::format(
        R"(<tr><th scope="row" class="label soft line" align="left" valign="top" width="120" style="width:120px;padding:8px 12px 8px 0;border-bottom:1px solid #eceff3;{font}font-size:13px;line-height:20px;font-weight:400;color:#5b6675;text-align:left;">{label}</th>
<td class="value ink line" valign="top" style="padding:8px 0;border-bottom:1px solid #eceff3;{face}font-size:{size}px;line-height:20px;color:#17202c;word-break:break-word;overflow-wrap:anywhere;">{value}</td></tr>
)",
        fmt::arg("font", font), fmt::arg("label", text(row.label)),
        fmt::arg("face", row.code ? mono : font), fmt::arg("size", row.code ? 13 : 14),
        fmt::arg("value", shown));
  }
  out += "</table>\n</td></tr>\n";
}

void add_items(std::string& out, const Content& content) {
  if (content.items.empty()) return;
  out += fmt::format(
      R"(<tr><td class="pad" style="padding:8px 36px 0 36px;">
<table width="100%" cellpadding="0" cellspacing="0" border="0" style="border-collapse:collapse;">
<tr><th scope="col" class="soft line" align="left" style="padding:6px 12px 6px 0;border-bottom:2px solid #e0e4ea;{0}font-size:13px;line-height:18px;font-weight:600;color:#5b6675;text-align:left;">API key</th>
<th scope="col" class="soft line" align="left" style="padding:6px 0;border-bottom:2px solid #e0e4ea;{0}font-size:13px;line-height:18px;font-weight:600;color:#5b6675;text-align:left;">What happens, and when</th></tr>
)",
      font);
  for (const Item& item : content.items) {
    const Colours colours = colours_of(item.tone);
    out += fmt::format(
        R"(<tr><th scope="row" class="label ink line" align="left" valign="top" width="44%" style="width:44%;padding:10px 12px 10px 0;border-bottom:1px solid #eceff3;{font}font-size:14px;line-height:20px;font-weight:600;color:#17202c;text-align:left;word-break:break-word;overflow-wrap:anywhere;">{name}<br><span class="soft" style="{mono}font-size:11px;line-height:16px;font-weight:400;color:#5b6675;">{id}</span></th>
<td class="value line" valign="top" style="padding:10px 0;border-bottom:1px solid #eceff3;{font}font-size:13px;line-height:20px;word-break:break-word;overflow-wrap:anywhere;"><span style="display:inline-block;font-size:12px;line-height:18px;font-weight:600;padding:1px 8px;border-radius:10px;background-color:{back};color:{ink};">{what}</span><br><span class="ink" style="color:#27303d;">{when}</span></td></tr>
)",
        fmt::arg("font", font), fmt::arg("mono", mono), fmt::arg("name", text(item.name)),
        fmt::arg("id", text(item.id)), fmt::arg("back", colours.badge_back),
        fmt::arg("ink", colours.badge_text), fmt::arg("what", text(item.what)),
        fmt::arg("when", text(item.when)));
  }
  out += "</table>\n</td></tr>\n";
}

void add_steps(std::string& out, const Content& content) {
  if (content.steps.empty()) return;
  out += fmt::format(
      R"(<tr><td class="pad" style="padding:24px 36px 0 36px;">
<h2 class="ink" style="margin:0 0 10px 0;{}font-size:16px;line-height:22px;font-weight:700;color:#17202c;">What to do</h2>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0">
)",
      font);
  int number = 0;
  for (const Step& step : content.steps) {
    out += fmt::format(
        R"(<tr><td class="soft" valign="top" width="26" style="width:26px;padding:0 0 12px 0;{font}font-size:15px;line-height:22px;color:#5b6675;">{number}.</td>
<td class="ink" valign="top" style="padding:0 0 12px 0;{font}font-size:15px;line-height:22px;color:#27303d;overflow-wrap:anywhere;">{text})",
        fmt::arg("font", font), fmt::arg("number", ++number), fmt::arg("text", text(step.text)));
    if (!step.command.empty())
      out += fmt::format(
          R"(
<div class="code" style="margin:6px 0 2px 0;padding:9px 12px;background-color:#f5f7fa;border:1px solid #e0e4ea;border-radius:6px;{}font-size:13px;line-height:19px;color:#17202c;word-break:break-word;overflow-wrap:anywhere;">{}</div>)",
          mono, text(step.command));
    out += "</td></tr>\n";
  }
  out += "</table>\n</td></tr>\n";
}

void add_link(std::string& out, const Content& content, const Colours& colours) {
  if (!is_web_link(content.link)) return;
  out += fmt::format(
      R"(<tr><td class="pad" style="padding:12px 36px 0 36px;">
<a href="{}" style="display:inline-block;padding:11px 22px;border-radius:6px;background-color:{};{}font-size:15px;line-height:20px;font-weight:600;color:#ffffff;text-decoration:none;">Open it</a>
</td></tr>
)",
      html_escape(content.link), colours.bar, font);
}

constexpr std::string_view closing =
    R"(<tr><td class="pad" style="padding:24px 36px 28px 36px;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0"><tr><td class="line soft" style="border-top:1px solid #e0e4ea;padding-top:14px;{font}font-size:12px;line-height:18px;color:#5b6675;overflow-wrap:anywhere;">{why}<br><br>{footer}</td></tr></table>
</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
)";

}  // namespace

std::string html_layout(const Content& content) {
  const Colours colours = colours_of(content.tone);
  const std::string preview =
      content.paragraphs.empty() ? content.heading : content.paragraphs.front();
  std::string out = fmt::format(head, fmt::arg("subject", text(content.subject)));
  out += fmt::format(opening, fmt::arg("preview", text(preview)), fmt::arg("bar", colours.bar),
                     fmt::arg("font", font), fmt::arg("badge_back", colours.badge_back),
                     fmt::arg("badge_text", colours.badge_text),
                     fmt::arg("badge", text(content.badge)),
                     fmt::arg("heading", text(content.heading)));
  add_paragraphs(out, content);
  add_rows(out, content);
  add_items(out, content);
  add_steps(out, content);
  add_link(out, content, colours);
  out += fmt::format(closing, fmt::arg("font", font), fmt::arg("why", text(content.why)),
                     fmt::arg("footer", text(content.footer)));
  return out;
}

}  // namespace sallyport::notify
