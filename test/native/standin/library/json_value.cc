#include "library/json_value.h"

#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace standin {
namespace {

// A text that nests deeper is nobody's configuration.
constexpr int kDeepest = 256;

class Reader {
 public:
  explicit Reader(const std::string& text) : at_(text.c_str()), end_(at_ + text.size()) {}

  bool ReadAll(JsonValue* value) {
    if (!Read(value, 0)) return false;
    SkipBlanks();
    return at_ == end_;
  }

 private:
  bool Read(JsonValue* value, int depth) {
    SkipBlanks();
    if (depth > kDeepest) return false;
    switch (*at_) {
      case '{':
        return ReadObject(value, depth);
      case '[':
        return ReadArray(value, depth);
      case '"':
        value->kind = JsonValue::kString;
        return ReadString(&value->text);
      case 't':
      case 'f':
        value->kind = JsonValue::kBoolean;
        return Take("true") || Take("false");
      case 'n':
        return Take("null");
      default:
        return ReadNumber(value);
    }
  }

  bool ReadObject(JsonValue* value, int depth) {
    value->kind = JsonValue::kObject;
    Take("{");
    SkipBlanks();
    if (Take("}")) return true;
    do {
      SkipBlanks();
      value->members.emplace_back();
      auto& [name, member] = value->members.back();
      if (*at_ != '"' || !ReadString(&name)) return false;
      SkipBlanks();
      if (!Take(":") || !Read(&member, depth + 1)) return false;
      SkipBlanks();
    } while (Take(","));
    return Take("}");
  }

  bool ReadArray(JsonValue* value, int depth) {
    value->kind = JsonValue::kArray;
    Take("[");
    SkipBlanks();
    if (Take("]")) return true;
    do {
      value->items.emplace_back();
      if (!Read(&value->items.back(), depth + 1)) return false;
      SkipBlanks();
    } while (Take(","));
    return Take("]");
  }

  bool ReadString(std::string* text) {
    Take("\"");
    for (; at_ < end_ && *at_ != '"'; ++at_) {
      if (static_cast<unsigned char>(*at_) < 0x20) return false;
      if (*at_ == '\\' && !ReadEscape(text)) return false;
      *text += *at_;
    }
    return Take("\"");
  }

  // Leaves the reader at the last character of the escape, which ReadString appends.
  bool ReadEscape(std::string* text) {
    ++at_;
    if (at_ == end_ || std::strchr("\"\\/bfnrtu", *at_) == nullptr) return false;
    if (std::strchr("\"\\/", *at_) == nullptr) *text += '\\';
    if (*at_ != 'u') return true;
    for (int i = 1; i <= 4; ++i) {
      if (!std::isxdigit(static_cast<unsigned char>(at_[i]))) return false;
    }
    text->append(at_, 4);
    at_ += 4;
    return true;
  }

  bool ReadNumber(JsonValue* value) {
    const char* start = at_;
    const bool negative = Take("-");
    const char* digits = at_;
    SkipDigits();
    const bool whole = at_ > digits && (*digits != '0' || at_ == digits + 1);
    if (!whole) return false;
    const char* integer_end = at_;
    if (Take(".") && !SkipDigits()) return false;
    if ((Take("e") || Take("E")) && !SkipSignedDigits()) return false;
    errno = 0;
    value->number = std::strtoull(start, nullptr, 10);
    value->kind = negative || at_ != integer_end || errno != 0 ? JsonValue::kOtherNumber : JsonValue::kUnsigned;
    return true;
  }

  bool SkipSignedDigits() {
    if (!Take("+")) Take("-");
    return SkipDigits();
  }

  bool SkipDigits() {
    const char* start = at_;
    while (std::isdigit(static_cast<unsigned char>(*at_))) ++at_;
    return at_ > start;
  }

  void SkipBlanks() {
    while (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r') ++at_;
  }

  bool Take(const char* token) {
    const size_t length = std::strlen(token);
    if (static_cast<size_t>(end_ - at_) < length || std::memcmp(at_, token, length) != 0) return false;
    at_ += length;
    return true;
  }

  // The text ends with a NUL, which no token begins with.
  const char* at_;
  const char* const end_;
};

}  // namespace

const JsonValue* JsonValue::Member(const std::string& name) const {
  // Of two members of one name the last one counts.
  for (auto member = members.rbegin(); member != members.rend(); ++member) {
    if (member->first == name) return &member->second;
  }
  return nullptr;
}

bool ParseJson(const std::string& text, JsonValue* value) { return Reader(text).ReadAll(value); }

}  // namespace standin
