// The built-in templates of keys, in the form in which a configuration adds further ones.
#pragma once

#include <string_view>

namespace sallyport::daemon {

inline constexpr std::string_view builtin_templates = R"toml(
[[template]]
id = "ANONYMOUS_SEARCH"
display_name = "Anonymous search"
description = "To query public content and send usage analytics data from a search interface without any form of authentication. Can be embedded in the search interface."
privacy = "PUBLIC"
privileges = ["SEARCH_API/EXECUTE_QUERY", "USAGE_ANALYTICS/ANALYTICS_DATA/EDIT"]
search_hub = true

[[template]]
id = "AUTHENTICATED_SEARCH"
display_name = "Authenticated search"
description = "To support authenticated queries and send usage analytics data. Must be kept on a secured server and used to generate search tokens for the user who is logged in."
privacy = "PRIVATE"
privileges = ["SEARCH_API/EXECUTE_QUERY", "SEARCH_API/IMPERSONATE", "USAGE_ANALYTICS/ANALYTICS_DATA/EDIT"]
search_hub = true
offers_ips = true

[[template]]
id = "USAGE_ANALYTICS"
display_name = "Usage analytics"
description = "To send usage analytics data with any security identity."
privacy = "PUBLIC"
privileges = ["USAGE_ANALYTICS/ANALYTICS_DATA/EDIT"]

[[template]]
id = "SEARCH_PAGES"
display_name = "Search pages"
description = "For hosted search pages."
privacy = "PUBLIC"
privileges = ["SEARCH_API/EXECUTE_QUERY", "SEARCH_API/SEARCH_PAGES/VIEW"]
search_hub = true

[[template]]
id = "CUSTOM"
display_name = "Custom"
description = "A combination of privileges of your own choice. Use one of the other templates unless it is absolutely necessary."
privacy = "PRIVATE"
choose_privileges = true
forbidden = ["SEARCH_API/EXECUTE_QUERY", "SEARCH_API/IMPERSONATE", "USAGE_ANALYTICS/ANALYTICS_DATA/EDIT"]
offers_ips = true
expires = true
default_lifetime = "P14D"
offered_lifetimes = ["P14D", "P1M", "P1Y"]

[[template]]
id = "INTEGRATION"
display_name = "Integration"
description = "For a system that is integrated: everything but the restricted domains, or exactly the listed objects and actions. Has a contact who is told before the key expires."
privacy = "PRIVATE"
permissions = true
contact = true
offers_ips = true
expires = true
)toml";

}  // namespace sallyport::daemon
