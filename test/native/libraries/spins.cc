// A library that never comes back from being loaded, and ignores what it is asked to end with.

#include <unistd.h>

#include <csignal>

namespace {

__attribute__((constructor)) void Spin() {
  std::signal(SIGTERM, SIG_IGN);
  std::signal(SIGINT, SIG_IGN);
  for (;;) pause();
}

}  // namespace
