#include "library/option_text.h"

#include <arpa/inet.h>

#include <algorithm>
#include <locale>
#include <sstream>

#include "library/json_value.h"

namespace standin {
namespace {

constexpr int64_t kMaxPort = 4294967295;
constexpr int32_t kMaxRetryCount = 100;
constexpr uint64_t kMaxPages = 4294967294;
constexpr uint64_t kDefaultPageShift = 16;

// Blanks and a sign may lead, nothing may follow, and `-1` is a large unsigned number.
template <typename Number>
bool ParseNumber(const std::string& text, Number* number) {
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  return (stream >> *number) && stream.peek() == std::istringstream::traits_type::eof();
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t start = 0;
  for (size_t end = text.find(separator); end != std::string::npos; end = text.find(separator, start)) {
    parts.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  parts.push_back(text.substr(start));
  return parts;
}

bool IsIpv6(const std::string& text) {
  in6_addr address;
  return inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

// Brackets decide: the address is what they enclose, the port what follows the next colon.
std::vector<std::string> SplitListenAddress(const std::string& text) {
  const size_t left = text.find('[');
  const size_t right = text.find(']');
  if (left == std::string::npos || right == std::string::npos || right < left) return Split(text, ':');
  const size_t colon = text.find(':', right);
  if (colon == std::string::npos) return {};
  return {text.substr(left + 1, right - left - 1), text.substr(colon + 1)};
}

const std::string* Find(const Options& options, const char* key) {
  const auto found = options.find(key);
  return found == options.end() ? nullptr : &found->second;
}

Status CheckPool(const char* key, const std::string& text) {
  JsonValue json;
  if (!ParseJson(text, &json)) return Refuse(kParamInvalid, "%s is not JSON", key);
  const JsonValue* size = json.Member("memory_size");
  if (size == nullptr || size->kind != JsonValue::kUnsigned) {
    return Refuse(kParamInvalid, "%s has no unsigned memory_size", key);
  }
  const JsonValue* shift = json.Member("page_shift");
  if (shift != nullptr && (shift->kind != JsonValue::kUnsigned || shift->number < 10 || shift->number > 30)) {
    return Refuse(kParamInvalid, "%s: page_shift is not 10 to 30", key);
  }
  const uint64_t pages = size->number >> (shift == nullptr ? kDefaultPageShift : shift->number);
  if (pages > kMaxPages || pages == 0) return Refuse(kParamInvalid, "%s: %lu pages", key, pages);
  return kSuccess;
}

}  // namespace

bool IsIpv4(const std::string& text) {
  in_addr address;
  return inet_pton(AF_INET, text.c_str(), &address) == 1;
}

Status ParseListenAddress(const std::string& text, ListenAddress* listen) {
  const std::vector<std::string> parts = SplitListenAddress(text);
  if (parts.size() != 2) return Refuse(kParamInvalid, "llm.ListenIpInfo \"%s\" is not ip:port", text.c_str());
  listen->ip = parts[0];
  if (!IsIpv4(listen->ip) && !IsIpv6(listen->ip)) {
    return Refuse(kParamInvalid, "llm.ListenIpInfo: \"%s\" is no address", listen->ip.c_str());
  }
  if (!ParseNumber(parts[1], &listen->port) || listen->port < 0 || listen->port > kMaxPort) {
    return Refuse(kParamInvalid, "llm.ListenIpInfo: \"%s\" is no port", parts[1].c_str());
  }
  return kSuccess;
}

Status ReadDevicesAndListener(const Options& options, DevicesAndListener* out) {
  const std::string* devices = Find(options, "llm.DeviceId");
  if (devices == nullptr) return Refuse(kParamInvalid, "llm.DeviceId is missing");
  for (const std::string& item : Split(*devices, ';')) {
    int32_t device = 0;
    if (!ParseNumber(item, &device) || device < 0) {
      return Refuse(kParamInvalid, "llm.DeviceId \"%s\" is no device", devices->c_str());
    }
    out->devices.push_back(device);
  }
  const std::string* listen = Find(options, "llm.ListenIpInfo");
  out->has_listen = listen != nullptr;
  return listen == nullptr ? kSuccess : ParseListenAddress(*listen, &out->listen);
}

Status CheckBackend(const Options& options, const DevicesAndListener& before) {
  const std::string* backend = Find(options, "llm.TransferBackend");
  if (backend != nullptr && *backend != "hixl") {
    return Refuse(kParamInvalid, "llm.TransferBackend \"%s\" is not hixl", backend->c_str());
  }
  if (before.devices.size() != 1) return Refuse(kParamInvalid, "llm.DeviceId lists %zu devices", before.devices.size());
  return kSuccess;
}

Status CheckEarlyOptions(const Options& options) {
  for (const char* key : {"llm.RdmaTrafficClass", "llm.RdmaServiceLevel"}) {
    const std::string* text = Find(options, key);
    uint32_t value = 0;
    if (text != nullptr && !ParseNumber(*text, &value)) {
      return Refuse(kParamInvalid, "%s \"%s\" is no number", key, text->c_str());
    }
  }
  const std::string* total_time = Find(options, "llm.LinkTotalTime");
  int32_t value = 0;
  if (total_time != nullptr && !ParseNumber(*total_time, &value)) {
    return Refuse(kParamInvalid, "llm.LinkTotalTime \"%s\" is no number", total_time->c_str());
  }
  const std::string* retries = Find(options, "llm.LinkRetryCount");
  if (retries != nullptr && (!ParseNumber(*retries, &value) || value < 1 || value > kMaxRetryCount)) {
    return Refuse(kParamInvalid, "llm.LinkRetryCount \"%s\" is not 1 to %d", retries->c_str(), kMaxRetryCount);
  }
  const bool hixl = Find(options, "llm.TransferBackend") != nullptr;
  if (hixl && Find(options, "llm.ListenIpInfo") == nullptr) {
    return Refuse(kParamInvalid, "the transfer backend hixl needs llm.ListenIpInfo");
  }
  return kSuccess;
}

Status CheckLateOptions(const Options& options) {
  const std::string* wait_time = Find(options, "llm.SyncKvCacheWaitTime");
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (wait_time != nullptr && (wait_time->empty() || !std::all_of(wait_time->begin(), wait_time->end(), is_digit))) {
    return Refuse(kParamInvalid, "llm.SyncKvCacheWaitTime \"%s\" is not digits only", wait_time->c_str());
  }
  for (const char* key : {"llm.MemPoolConfig", "llm.HostMemPoolConfig"}) {
    const std::string* text = Find(options, key);
    const Status status = text == nullptr ? kSuccess : CheckPool(key, *text);
    if (status != kSuccess) return status;
  }
  return kSuccess;
}

}  // namespace standin
