#include "daemon/files/lanes.h"

#include <utility>

namespace sallyport::daemon {

Lanes::Entry* Lanes::find(const std::string& id, Line*& line, std::string& name) {
  const auto place = files_.find(id);
  if (place == files_.end()) return nullptr;
  name = place->second.line;
  line = &lines_.at(name);
  return &line->entries.at(place->second.sequence);
}

void Lanes::set_stage(Line& line, Entry& entry, Stage stage) {
  const auto in_front = [](Stage of) {
    return of == Stage::preparing || of == Stage::prepared || of == Stage::publishing;
  };
  const auto busy = [](Stage of) { return of == Stage::preparing || of == Stage::publishing; };
  if (in_front(entry.stage)) --line.in_front;
  if (in_front(stage)) ++line.in_front;
  if (busy(entry.stage)) --busy_;
  if (busy(stage)) ++busy_;
  if (entry.stage == Stage::publishing) line.publishing = false;
  if (stage == Stage::publishing) line.publishing = true;
  entry.stage = stage;
}

Lanes::Entry* Lanes::publishable(Line& line) {
  if (line.publishing) return nullptr;
  for (auto& [sequence, entry] : line.entries) {
    if (entry.stage == Stage::prepared) return &entry;
    if (entry.holds) return nullptr;
  }
  return nullptr;
}

Lanes::Entry* Lanes::preparable(Line& line) {
  for (auto& [sequence, entry] : line.entries) {
    if (entry.stage != Stage::unprepared) continue;
    // The first one may always go on: it is what the others wait for.
    const bool first = line.entries.begin()->first == sequence;
    return first || line.in_front < ahead_ ? &entry : nullptr;
  }
  return nullptr;
}

void Lanes::reconsider(const std::string& name, Line& line) {
  if (!line.queued_to_publish && publishable(line) != nullptr) {
    line.queued_to_publish = true;
    to_publish_.push_back(name);
  }
  if (!line.queued_to_prepare && preparable(line) != nullptr) {
    line.queued_to_prepare = true;
    to_prepare_.push_back(name);
  }
}

void Lanes::add(const std::string& id, const std::string& line_name, std::int64_t sequence,
                bool prepared) {
  Line* line = nullptr;
  std::string name;
  if (Entry* known = find(id, line, name)) {
    if (known->stage != Stage::waiting) return;
    set_stage(*line, *known, prepared ? Stage::prepared : Stage::unprepared);
    reconsider(name, *line);
    return;
  }
  line = &lines_[line_name];
  Entry entry;
  entry.id = id;
  const auto [at, is_new] = line->entries.emplace(sequence, std::move(entry));
  if (!is_new) return;
  files_.emplace(id, Place{line_name, sequence});
  set_stage(*line, at->second, prepared ? Stage::prepared : Stage::unprepared);
  reconsider(line_name, *line);
}

void Lanes::hold(const std::string& id, const std::string& line_name, std::int64_t sequence,
                 bool holds) {
  if (files_.count(id) != 0) return;
  Line& line = lines_[line_name];
  Entry entry;
  entry.id = id;
  entry.stage = Stage::waiting;
  entry.holds = holds;
  if (line.entries.emplace(sequence, std::move(entry)).second) {
    files_.emplace(id, Place{line_name, sequence});
  }
}

void Lanes::add_errand(const std::string& id) {
  if (errands_known_.emplace(id, false).second) errands_.push_back(id);
}

std::optional<Job> Lanes::take() {
  while (!to_publish_.empty()) {
    const std::string name = std::move(to_publish_.front());
    to_publish_.pop_front();
    const auto found = lines_.find(name);
    if (found == lines_.end()) continue;
    found->second.queued_to_publish = false;
    Entry* entry = publishable(found->second);
    if (entry == nullptr) continue;
    set_stage(found->second, *entry, Stage::publishing);
    return Job{JobKind::publish, entry->id};
  }
  if (!errands_.empty()) {
    Job job{JobKind::errand, std::move(errands_.front())};
    errands_.pop_front();
    errands_known_[job.id] = true;
    ++busy_;
    return job;
  }
  while (!to_prepare_.empty()) {
    const std::string name = std::move(to_prepare_.front());
    to_prepare_.pop_front();
    const auto found = lines_.find(name);
    if (found == lines_.end()) continue;
    found->second.queued_to_prepare = false;
    Entry* entry = preparable(found->second);
    if (entry == nullptr) continue;
    set_stage(found->second, *entry, Stage::preparing);
    reconsider(name, found->second);  // to the end of the queue: the other lines' turn
    return Job{JobKind::prepare, entry->id};
  }
  return std::nullopt;
}

void Lanes::is_prepared(const std::string& id) {
  Line* line = nullptr;
  std::string name;
  Entry* entry = find(id, line, name);
  if (entry == nullptr) return;
  set_stage(*line, *entry, Stage::prepared);
  entry->holds = true;
  reconsider(name, *line);
}

void Lanes::waits(const std::string& id, bool holds) {
  Line* line = nullptr;
  std::string name;
  Entry* entry = find(id, line, name);
  if (entry == nullptr) return;
  set_stage(*line, *entry, Stage::waiting);
  entry->holds = holds;
  reconsider(name, *line);
}

void Lanes::leave(const std::string& id) {
  if (const auto errand = errands_known_.find(id); errand != errands_known_.end()) {
    if (errand->second) {
      --busy_;
      errands_known_.erase(errand);
    }
    return;
  }
  Line* line = nullptr;
  std::string name;
  Entry* entry = find(id, line, name);
  if (entry == nullptr) return;
  set_stage(*line, *entry, Stage::waiting);
  line->entries.erase(files_.at(id).sequence);
  files_.erase(id);
  if (line->entries.empty()) {
    lines_.erase(name);
  } else {
    reconsider(name, *line);
  }
}

void Lanes::leave_if_waiting(const std::string& id) {
  Line* line = nullptr;
  std::string name;
  const Entry* entry = find(id, line, name);
  if (entry != nullptr && entry->stage == Stage::waiting) leave(id);
}

bool Lanes::is_active() const {
  return busy_ > 0 || !errands_.empty() || !to_publish_.empty() || !to_prepare_.empty();
}

}  // namespace sallyport::daemon
