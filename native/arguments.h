// Positional arguments of a JavaScript call. TypeScript has checked them; a value that is wrong all the same throws.

#ifndef LLM_DATADIST_NODE_ARGUMENTS_H_
#define LLM_DATADIST_NODE_ARGUMENTS_H_

#include <napi.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bridge/bridge.h"

namespace llm_datadist_node {

class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  Napi::Env Env() const { return info_.Env(); }

  // The next argument, each time.
  bool Boolean() { return Next().As<Napi::Boolean>().Value(); }
  uint32_t Uint32() { return Next().As<Napi::Number>().Uint32Value(); }
  int32_t Int32() { return Next().As<Napi::Number>().Int32Value(); }
  // The largest of some numbers, up to 2^53, where there is a limit; none where it is negative, and not even 0 may be.
  std::optional<uint64_t> Limit();
  // A class, or whatever else can be called.
  Napi::Function Function();
  uint64_t Uint64();
  int64_t Int64();
  std::string Text();
  std::vector<std::string> Texts() { return TextsOf(Next()); }
  std::vector<std::vector<std::string>> TextLists();

  // Copies: the caller may use the memory again at once.
  std::vector<uint64_t> Uint64s() { return Copy<uint64_t>(napi_biguint64_array, "BigUint64Array"); }
  std::vector<int64_t> Int64s() { return Copy<int64_t>(napi_bigint64_array, "BigInt64Array"); }
  std::vector<uint32_t> Uint32s() { return Copy<uint32_t>(napi_uint32_array, "Uint32Array"); }
  std::vector<int32_t> Int32s() { return Copy<int32_t>(napi_int32_array, "Int32Array"); }
  std::vector<uint8_t> Bytes() { return Copy<uint8_t>(napi_uint8_array, "Uint8Array"); }
  std::vector<std::vector<uint64_t>> Uint64Lists();
  // Two lists, the second behind the first; how long the first is.
  size_t Uint64sTwice(std::vector<uint64_t>* both);

  LlmExtParam ExtParam();
  LlmCacheIndex CacheIndex();

 private:
  Napi::Value Next() { return info_[next_++]; }
  template <typename T>
  std::vector<T> Copy(napi_typedarray_type type, const char* name) {
    return CopyOf<T>(Next(), type, name);
  }
  // The elements of a typed array, where JavaScript keeps them.
  template <typename T>
  static std::pair<const T*, size_t> ElementsIn(Napi::Value value, napi_typedarray_type type, const char* name);
  template <typename T>
  static std::vector<T> CopyOf(Napi::Value value, napi_typedarray_type type, const char* name);
  std::string TextOf(Napi::Value value);
  std::vector<std::string> TextsOf(Napi::Value value);
  // The elements of an Array, each read in a separate scope.
  template <typename Read>
  auto ElementsOf(Napi::Value value, const char* what, Read read);
  // Adds to what the call holds, and throws where the sum is too much. It comes before each copy: the lists of an Array may
  // be one and the same, and so may its texts.
  void Count(size_t* sum, size_t more, size_t most, const char* what);

  const Napi::CallbackInfo& info_;
  size_t next_ = 0;
  size_t elements_ = 0;
  size_t text_bytes_ = 0;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_ARGUMENTS_H_
