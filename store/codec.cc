#include "store/codec.h"

#include <algorithm>

namespace sallyport::store {

void Query::put(const base::Sha256& value) {
  prepared_.bind_bytes(++parameter_,
                       std::string_view(reinterpret_cast<const char*>(value.data()), value.size()));
}

void Query::get(base::Sha256& value) {
  const std::string bytes = prepared_.text(column_++);
  if (bytes.size() != value.size()) {
    throw Error(Failure::broken, 0, "a digest in the database does not have 32 bytes");
  }
  std::copy(bytes.begin(), bytes.end(), value.begin());
}

void Query::put(const std::optional<Contact>& contact) {
  if (contact) {
    bind(contact->first_name, contact->last_name, contact->login, contact->email);
    return;
  }
  for (int i = 0; i < 4; ++i) prepared_.bind_null(++parameter_);
}

void Query::get(std::optional<Contact>& contact) {
  // The login is NULL exactly where there is no contact.
  contact.reset();
  if (prepared_.is_null(column_ + 2)) {
    column_ += 4;
    return;
  }
  contact.emplace();
  read(contact->first_name, contact->last_name, contact->login, contact->email);
}

void Query::put(const std::optional<Exposure>& exposure) {
  // The deadline in force has a column of its own, which verification reads.
  std::optional<base::Instant> deadline;
  if (exposure && !exposure->withdrawn) deadline = exposure->deadline;
  bind(to_json(exposure), deadline);
}

void Query::get(std::optional<Exposure>& exposure) {
  from_json(prepared_.text(column_), exposure);
  column_ += 2;
}

std::optional<base::Instant> one_instant(Unit& unit, Sql statement) {
  Query query(unit, statement);
  std::optional<base::Instant> instant;
  if (query.next()) query.read(instant);
  return instant;
}

}  // namespace sallyport::store
