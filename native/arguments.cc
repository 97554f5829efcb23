#include "arguments.h"

namespace llm_datadist_node {
namespace {

// Of one call, in all its Arrays and the lists in them. TypeScript allows less.
constexpr size_t kMostElements = size_t{1} << 22;
constexpr size_t kMostTextBytes = size_t{1} << 26;

}  // namespace

template <typename T>
std::pair<const T*, size_t> Arguments::ElementsIn(Napi::Value value, napi_typedarray_type type, const char* name) {
  const Napi::Env env = value.Env();
  if (!value.IsTypedArray()) throw Napi::TypeError::New(env, std::string("a ") + name + " is needed");
  napi_typedarray_type actual;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &actual, &length, &data, nullptr, nullptr) != napi_ok) {
    throw Napi::Error::New(env);
  }
  if (actual != type) throw Napi::TypeError::New(env, std::string("a ") + name + " is needed");
  return {static_cast<const T*>(data), length};
}

template <typename T>
std::vector<T> Arguments::CopyOf(Napi::Value value, napi_typedarray_type type, const char* name) {
  const auto [first, length] = ElementsIn<T>(value, type, name);
  return {first, first + length};
}

template <typename Read>
auto Arguments::ElementsOf(Napi::Value value, const char* what, Read read) {
  const Napi::Env env = value.Env();
  if (!value.IsArray()) throw Napi::TypeError::New(env, std::string("an Array of ") + what + " is needed");
  const auto array = value.As<Napi::Array>();
  const uint32_t length = array.Length();
  Count(&elements_, length, kMostElements, "elements");
  std::vector<decltype(read(value))> elements;
  elements.reserve(length);
  for (uint32_t i = 0; i < length; ++i) {
    const Napi::HandleScope scope(env);
    elements.push_back(read(array.Get(i)));
  }
  return elements;
}

Napi::Function Arguments::Function() {
  const Napi::Value value = Next();
  if (!value.IsFunction()) throw Napi::TypeError::New(value.Env(), "a function is needed");
  return value.As<Napi::Function>();
}

uint64_t Arguments::Uint64() {
  bool lossless = false;
  const Napi::Value value = Next();
  const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) throw Napi::RangeError::New(value.Env(), "a bigint does not fit an unsigned 64-bit number");
  return number;
}

std::optional<uint64_t> Arguments::Limit() {
  const double limit = Next().As<Napi::Number>().DoubleValue();
  constexpr double kLargest = 9007199254740992;
  if (limit < 0) return std::nullopt;
  return limit <= kLargest ? static_cast<uint64_t>(limit) : UINT64_MAX;
}

int64_t Arguments::Int64() {
  bool lossless = false;
  const Napi::Value value = Next();
  const int64_t number = value.As<Napi::BigInt>().Int64Value(&lossless);
  if (!lossless) throw Napi::RangeError::New(value.Env(), "a bigint does not fit a signed 64-bit number");
  return number;
}

std::string Arguments::Text() { return TextOf(Next()); }

std::vector<std::vector<std::string>> Arguments::TextLists() {
  return ElementsOf(Next(), "Arrays of strings", [this](Napi::Value element) { return TextsOf(element); });
}

std::vector<std::vector<uint64_t>> Arguments::Uint64Lists() {
  return ElementsOf(Next(), "BigUint64Arrays", [this](Napi::Value element) {
    const auto [first, length] = ElementsIn<uint64_t>(element, napi_biguint64_array, "BigUint64Array");
    Count(&elements_, length, kMostElements, "elements");
    return std::vector<uint64_t>(first, first + length);
  });
}

size_t Arguments::Uint64sTwice(std::vector<uint64_t>* both) {
  const auto [first, first_length] = ElementsIn<uint64_t>(Next(), napi_biguint64_array, "BigUint64Array");
  const auto [second, second_length] = ElementsIn<uint64_t>(Next(), napi_biguint64_array, "BigUint64Array");
  both->reserve(first_length + second_length);
  both->assign(first, first + first_length);
  both->insert(both->end(), second, second + second_length);
  return first_length;
}

LlmCacheIndex Arguments::CacheIndex() {
  LlmCacheIndex index{};
  index.cluster_id = Uint64();
  index.cache_id = Int64();
  index.batch_index = Uint32();
  return index;
}

LlmExtParam Arguments::ExtParam() {
  LlmExtParam param{};
  for (int32_t& layer : param.src_layer_range) layer = Int32();
  for (int32_t& layer : param.dst_layer_range) layer = Int32();
  param.tensor_num_per_layer = static_cast<uint8_t>(Uint32());
  return param;
}

template std::vector<uint64_t> Arguments::CopyOf(Napi::Value, napi_typedarray_type, const char*);
template std::vector<int64_t> Arguments::CopyOf(Napi::Value, napi_typedarray_type, const char*);
template std::vector<int32_t> Arguments::CopyOf(Napi::Value, napi_typedarray_type, const char*);
template std::vector<uint32_t> Arguments::CopyOf(Napi::Value, napi_typedarray_type, const char*);
template std::vector<uint8_t> Arguments::CopyOf(Napi::Value, napi_typedarray_type, const char*);

std::vector<std::string> Arguments::TextsOf(Napi::Value value) {
  return ElementsOf(value, "strings", [this](Napi::Value element) { return TextOf(element); });
}

std::string Arguments::TextOf(Napi::Value value) {
  const Napi::Env env = value.Env();
  size_t bytes = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &bytes) != napi_ok) throw Napi::Error::New(env);
  Count(&text_bytes_, bytes, kMostTextBytes, "bytes of text");
  return value.As<Napi::String>().Utf8Value();
}

void Arguments::Count(size_t* sum, size_t more, size_t most, const char* what) {
  *sum += more;
  if (*sum <= most) return;
  throw Napi::RangeError::New(info_.Env(), "the lists of a call may hold " + std::to_string(most) + " " + what + " in all");
}

}  // namespace llm_datadist_node
