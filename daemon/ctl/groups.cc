#include "daemon/ctl/command.h"

namespace sallyport::daemon::ctl {

void add_all_commands(Command app, Context& context) {
  add_key_commands(app, context);
  add_partner_commands(app, context);
  add_files_commands(app, context);
  add_notices_commands(app, context);
  add_activity_commands(app, context);
  add_audit_commands(app, context);
  add_admin_commands(app, context);
  add_status_commands(app, context);
}

}  // namespace sallyport::daemon::ctl
