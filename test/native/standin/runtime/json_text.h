// Writes JSON, member by member; commas come by themselves.

#ifndef LLM_DATADIST_NODE_STANDIN_JSON_TEXT_H_
#define LLM_DATADIST_NODE_STANDIN_JSON_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace standin {

class JsonText {
 public:
  JsonText& Open(char bracket);
  JsonText& Close(char bracket);
  JsonText& Key(std::string_view key);

  JsonText& Number(int64_t value);
  // As text: JSON readers keep 53 bits of a number.
  JsonText& Decimal(uint64_t value);
  JsonText& Decimal(int64_t value);
  JsonText& Boolean(bool value);
  // Bytes that are no UTF-8 become lone surrogates U+DC80 to U+DCFF, so that a reader can tell them.
  JsonText& Text(std::string_view value);
  // A value that is JSON already.
  JsonText& Json(std::string_view value);

  const std::string& Get() const { return text_; }

 private:
  void Separate();
  void AppendQuoted(std::string_view value);

  std::string text_;
};

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_JSON_TEXT_H_
