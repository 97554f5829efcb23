// What a library may do to the process that loads it, as the variable AT_LOAD says: `print` to both outputs, `abort`,
// `exit`, or nothing.

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

__attribute__((constructor)) void AtLoad() {
  const char* const what = std::getenv("AT_LOAD");
  if (what == nullptr) return;
  if (std::strcmp(what, "print") == 0) {
    for (int line = 0; line < 2000; ++line) std::puts("[INFO] the library has much to say about itself");
    std::fputs("[WARN] and something to complain of\n", stderr);
    std::fflush(stdout);
  }
  if (std::strcmp(what, "abort") == 0) {
    std::fputs("terminate called without an active device\n", stderr);
    std::abort();
  }
  // Without clean-up, which a thread sanitizer does not stand while a library is being loaded.
  if (std::strcmp(what, "exit") == 0) std::_Exit(0);
}

}  // namespace
