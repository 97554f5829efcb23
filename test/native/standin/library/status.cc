#include "library/status.h"

#include <cstdarg>
#include <cstdio>

#include "runtime/hazards.h"
#include "runtime/thread_context.h"

namespace standin {
namespace {

constexpr size_t kLongest = 512;

}  // namespace

Status Refuse(Status status, const char* format, ...) {
  char text[kLongest];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  SetRecentError(text);
  return status;
}

Status RefuseFatal(const char* format, ...) {
  char text[kLongest];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  Violate(Hazard::kFatalValue, "%s", text);
  SetRecentError(text);
  return kParamInvalid;
}

}  // namespace standin
