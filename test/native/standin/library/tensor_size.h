// Bytes of a tensor as the library counts them.

#ifndef LLM_DATADIST_NODE_STANDIN_TENSOR_SIZE_H_
#define LLM_DATADIST_NODE_STANDIN_TENSOR_SIZE_H_

#include <cstdint>
#include <vector>

#include "library/status.h"

namespace standin {

Status TensorSize(const std::vector<int64_t>& shape, int32_t data_type, uint64_t* bytes);

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_TENSOR_SIZE_H_
