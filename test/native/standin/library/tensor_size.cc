#include "library/tensor_size.h"

#include <cstddef>

namespace standin {
namespace {

// Bits of an element by its type; 0 for a type without a size.
constexpr uint8_t kBits[] = {32, 16, 8,  32, 8,  0,  16, 16, 32, 64, 64, 64, 8, 128, 8, 8, 64, 128, 8, 16, 32, 8,
                             16, 64, 128, 40, 64, 16, 0, 4,  1,  2,  2,  32, 8, 8,  8, 8, 6,  6,   4, 4,  4};

constexpr int64_t kMaxSubByteBits = 2147483647;

}  // namespace

Status TensorSize(const std::vector<int64_t>& shape, int32_t data_type, uint64_t* bytes) {
  int64_t elements = 1;
  for (const int64_t dimension : shape) {
    if (dimension <= 0) return Refuse(kParamInvalid, "dimension %ld is not positive", dimension);
    if (__builtin_mul_overflow(elements, dimension, &elements)) {
      return Refuse(kParamInvalid, "the number of elements exceeds int64");
    }
  }
  const bool known = data_type >= 0 && static_cast<size_t>(data_type) < sizeof kBits;
  const int64_t bits = known ? kBits[data_type] : 0;
  if (bits == 0) return Refuse(kParamInvalid, "data type %d has no size", data_type);
  const bool whole_bytes = bits % 8 == 0;
  int64_t product = 0;
  if (__builtin_mul_overflow(elements, whole_bytes ? bits / 8 : bits, &product)) {
    return Refuse(kParamInvalid, "the bytes of a tensor exceed int64");
  }
  // The library rounds bits up to bytes in 32-bit arithmetic.
  if (!whole_bytes && product > kMaxSubByteBits) return RefuseFatal("%ld bits of a type below a byte", product);
  *bytes = static_cast<uint64_t>(whole_bytes ? product : (product + 7) / 8);
  return kSuccess;
}

}  // namespace standin
