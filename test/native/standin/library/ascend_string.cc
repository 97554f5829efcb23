// ge::AscendString: a string that may also be none at all, which differs from the empty one.

#include <functional>

#include "native/abi/llm_datadist.h"

namespace ge {

AscendString::AscendString(const char* text)
    : text_(text == nullptr ? nullptr : std::make_shared<std::string>(text)) {}

AscendString::AscendString(const char* text, size_t length)
    : text_(text == nullptr ? nullptr : std::make_shared<std::string>(text, length)) {}

const char* AscendString::GetString() const { return text_ == nullptr ? "" : text_->c_str(); }

size_t AscendString::GetLength() const { return text_ == nullptr ? 0 : text_->size(); }

size_t AscendString::Find(const AscendString& part) const {
  if (text_ == nullptr || part.text_ == nullptr) return std::string::npos;
  return text_->find(*part.text_);
}

size_t AscendString::Hash() const { return std::hash<std::string>()(text_ == nullptr ? std::string() : *text_); }

bool AscendString::operator<(const AscendString& other) const {
  if (text_ == nullptr || other.text_ == nullptr) return text_ == nullptr && other.text_ != nullptr;
  return *text_ < *other.text_;
}

bool AscendString::operator>(const AscendString& other) const { return other < *this; }

bool AscendString::operator<=(const AscendString& other) const { return !(other < *this); }

bool AscendString::operator>=(const AscendString& other) const { return !(*this < other); }

bool AscendString::operator==(const AscendString& other) const {
  if (text_ == nullptr || other.text_ == nullptr) return text_ == other.text_;
  return *text_ == *other.text_;
}

bool AscendString::operator!=(const AscendString& other) const { return !(*this == other); }

bool AscendString::operator==(const char* text) const { return *this == AscendString(text); }

bool AscendString::operator!=(const char* text) const { return !(*this == text); }

}  // namespace ge
