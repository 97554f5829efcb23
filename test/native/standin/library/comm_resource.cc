#include "library/comm_resource.h"

#include <vector>

#include "library/json_value.h"

namespace standin {
namespace {

constexpr size_t kMaxBytes = 65536;

struct Resource {
  std::string version;
  JsonValue json;
};

using DeviceIds = std::vector<std::string>;

bool IsText(const JsonValue* value) { return value != nullptr && value->kind == JsonValue::kString; }
bool IsTextOrAbsent(const JsonValue* value) { return value == nullptr || IsText(value); }
bool IsArray(const JsonValue* value) { return value != nullptr && value->kind == JsonValue::kArray; }

bool Read(const CommResource& resource, Resource* out) {
  if (resource.text.size() > kMaxBytes || !ParseJson(resource.text, &out->json)) return false;
  const JsonValue* version = out->json.Member("version");
  if (!IsText(version)) return false;
  out->version = version->text;
  return out->version == "1.0" || out->version == "1.2";
}

bool ReadDevice(const JsonValue& device, bool with_super_device, DeviceIds* ids) {
  const JsonValue* id = device.Member("device_id");
  if (!IsText(id) || (with_super_device && !IsText(device.Member("super_device_id")))) return false;
  ids->push_back(id->text);
  return IsTextOrAbsent(device.Member("device_ip")) && IsTextOrAbsent(device.Member("device_port"));
}

bool CheckSuperPods(const JsonValue& pods) {
  if (!IsArray(&pods)) return false;
  for (const JsonValue& pod : pods.items) {
    const JsonValue* servers = pod.Member("server_list");
    if (!IsText(pod.Member("super_pod_id")) || !IsArray(servers)) return false;
    for (const JsonValue& server : servers->items) {
      if (!IsText(server.Member("server_id"))) return false;
    }
  }
  return true;
}

// One device each, by the rules of `version`.
bool ReadServers(const JsonValue& json, const std::string& version, DeviceIds* ids) {
  const bool newer = version == "1.2";
  const JsonValue* servers = json.Member("server_list");
  if (!IsArray(servers)) return false;
  for (const JsonValue& server : servers->items) {
    const JsonValue* devices = server.Member("device");
    if (!IsText(server.Member("server_id")) || !IsArray(devices) || devices->items.size() != 1) return false;
    if (!ReadDevice(devices->items[0], newer, ids)) return false;
  }
  const JsonValue* pods = newer ? json.Member("super_pod_list") : nullptr;
  return pods == nullptr || CheckSuperPods(*pods);
}

CommResource AsText(const CommResource& resource) {
  if (!resource.IsGenerated()) return resource;
  CommResource written = resource;
  written.text = "{\"version\":\"1.0\",\"server_list\":[{\"server_id\":\"" + resource.host +
                 "\",\"device\":[{\"device_id\":\"" + std::to_string(resource.device) + "\"}]}]}";
  return written;
}

}  // namespace

CommResource GivenResource(const std::string& text, int32_t device) { return {true, text, "", device}; }

CommResource GeneratedResource(const std::string& host, int32_t device) { return {true, "", host, device}; }

Status CheckResources(const CommResource& own, const CommResource& peer) {
  // Generated ones are well-formed.
  if (own.IsGenerated() && peer.IsGenerated()) return kSuccess;
  Resource mine;
  Resource theirs;
  if (!Read(AsText(own), &mine)) return Refuse(kParamInvalid, "the own llm.LocalCommRes cannot be used");
  if (!Read(AsText(peer), &theirs)) return Refuse(kParamInvalid, "the peer's llm.LocalCommRes cannot be used");
  // Both are read by the rules of the smaller version.
  const std::string version = mine.version == "1.0" ? mine.version : theirs.version;
  DeviceIds my_devices;
  DeviceIds their_devices;
  if (!ReadServers(mine.json, version, &my_devices)) return Refuse(kParamInvalid, "the own llm.LocalCommRes is wrong");
  if (!ReadServers(theirs.json, version, &their_devices)) {
    return Refuse(kParamInvalid, "the peer's llm.LocalCommRes is wrong");
  }
  if (my_devices.empty()) return Refuse(kParamInvalid, "the own llm.LocalCommRes lists no server");
  for (const std::string& device : my_devices) {
    if (device == std::to_string(own.device)) continue;
    return Refuse(kParamInvalid, "the own llm.LocalCommRes names device %s, not %d", device.c_str(), own.device);
  }
  return kSuccess;
}

}  // namespace standin
