#include "runtime/json_text.h"

#include <cstdio>

namespace standin {
namespace {

// Length of the well-formed UTF-8 sequence that `text` starts with, 0 where it starts with none.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (length < 3) return length;
  const unsigned char second = byte(1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second >= 0xA0;
  const bool beyond = lead == 0xF4 && second >= 0x90;
  return overlong || surrogate || beyond ? 0 : length;
}

}  // namespace

JsonText& JsonText::Open(char bracket) {
  Separate();
  text_ += bracket;
  return *this;
}

JsonText& JsonText::Close(char bracket) {
  text_ += bracket;
  return *this;
}

JsonText& JsonText::Key(std::string_view key) {
  Separate();
  AppendQuoted(key);
  text_ += ':';
  return *this;
}

JsonText& JsonText::Number(int64_t value) {
  Separate();
  text_ += std::to_string(value);
  return *this;
}

JsonText& JsonText::Decimal(uint64_t value) {
  Separate();
  text_.append(1, '"').append(std::to_string(value)).append(1, '"');
  return *this;
}

JsonText& JsonText::Decimal(int64_t value) {
  Separate();
  text_.append(1, '"').append(std::to_string(value)).append(1, '"');
  return *this;
}

JsonText& JsonText::Boolean(bool value) {
  Separate();
  text_ += value ? "true" : "false";
  return *this;
}

JsonText& JsonText::Text(std::string_view value) {
  Separate();
  AppendQuoted(value);
  return *this;
}

JsonText& JsonText::Json(std::string_view value) {
  Separate();
  text_ += value;
  return *this;
}

void JsonText::Separate() {
  if (text_.empty()) return;
  const char last = text_.back();
  if (last != '{' && last != '[' && last != ':') text_ += ',';
}

void JsonText::AppendQuoted(std::string_view value) {
  char escape[8];
  text_ += '"';
  while (!value.empty()) {
    const unsigned char first = static_cast<unsigned char>(value.front());
    const size_t length = SequenceLength(value);
    if (first == '"' || first == '\\') {
      text_.append(1, '\\').append(1, value.front());
    } else if (first < 0x20) {
      std::snprintf(escape, sizeof escape, "\\u%04x", first);
      text_ += escape;
    } else if (length == 0) {
      std::snprintf(escape, sizeof escape, "\\udc%02x", first);
      text_ += escape;
    } else {
      text_.append(value.data(), length);
    }
    value.remove_prefix(length == 0 ? 1 : length);
  }
  text_ += '"';
}

}  // namespace standin
