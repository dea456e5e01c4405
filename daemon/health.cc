#include "daemon/health.h"

#include "base/log.h"

namespace sallyport::daemon {

void Health::raise(std::string_view name, std::string_view sentence) {
  {
    auto conditions = conditions_.lock();
    const auto found = conditions->find(name);
    if (found == conditions->end()) {
      conditions->emplace(std::string(name),
                          HealthCondition{std::string(name), std::string(sentence), clock_.now()});
    } else if (found->second.sentence != sentence) {
      found->second.sentence = sentence;
    } else {
      return;
    }
  }
  base::log_warning("health.raised", {{"condition", name}}, "{}", sentence);
  if (changed_) changed_();
}

void Health::clear(std::string_view name) {
  {
    auto conditions = conditions_.lock();
    const auto found = conditions->find(name);
    if (found == conditions->end()) return;
    conditions->erase(found);
  }
  base::log_notice("health.cleared", {{"condition", name}}, "{} is well again", name);
  if (changed_) changed_();
}

std::vector<HealthCondition> Health::list() {
  std::vector<HealthCondition> all;
  auto conditions = conditions_.lock();
  for (const auto& entry : *conditions) all.push_back(entry.second);
  return all;
}

}  // namespace sallyport::daemon
