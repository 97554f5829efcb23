// A bridge whose table is of a version that there never was.

#include <cstdint>

extern "C" const uint32_t* llm_datadist_bridge() {
  static const uint32_t version = 0xFFFFFFFFU;
  return &version;
}
