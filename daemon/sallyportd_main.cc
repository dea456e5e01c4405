#include "daemon/app/app.h"

int main(int argc, char** argv) {
  return sallyport::daemon::run_daemon(argc, argv);
}
