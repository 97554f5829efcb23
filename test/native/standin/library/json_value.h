// Reads JSON, as far as option texts need it.

#ifndef LLM_DATADIST_NODE_STANDIN_JSON_VALUE_H_
#define LLM_DATADIST_NODE_STANDIN_JSON_VALUE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace standin {

struct JsonValue {
  enum Kind { kNull, kBoolean, kUnsigned, kOtherNumber, kString, kArray, kObject };

  Kind kind = kNull;
  // Of kUnsigned.
  uint64_t number = 0;
  // Of kString; escapes other than \" \\ and \/ are left as they are.
  std::string text;
  std::vector<JsonValue> items;
  std::vector<std::pair<std::string, JsonValue>> members;

  // Null where there is none, and for anything but an object.
  const JsonValue* Member(const std::string& name) const;
};

bool ParseJson(const std::string& text, JsonValue* value);

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_JSON_VALUE_H_
