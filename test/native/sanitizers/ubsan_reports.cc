// Loaded before all else where AddressSanitizer and UndefinedBehaviorSanitizer are in one process. The latter sets the
// path of its reports by a function that the former has as well, and finds that one: its own path is never set, and what it
// says in a child process would go to a standard error that nobody reads. This library calls the right one.

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

namespace {

using SetReportPath = void (*)(const char*);

__attribute__((constructor)) void SetPath() {
  const char* const path = std::getenv("DATADIST_TEST_UBSAN_REPORTS");
  void* const runtime = dlopen("libubsan.so.1", RTLD_NOW | RTLD_NOLOAD);
  void* const function = runtime == nullptr ? nullptr : dlsym(runtime, "__sanitizer_set_report_path");
  if (path == nullptr || function == nullptr) {
    std::fprintf(stderr, "ubsan_reports: no path or no sanitizer to set it for\n");
    std::abort();
  }
  reinterpret_cast<SetReportPath>(function)(path);
}

}  // namespace
