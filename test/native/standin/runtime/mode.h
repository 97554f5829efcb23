// What is switched on, in one word: a transfer of a stand-in that watches nothing looks at it and at nothing else.

#ifndef LLM_DATADIST_NODE_STANDIN_MODE_H_
#define LLM_DATADIST_NODE_STANDIN_MODE_H_

#include <atomic>
#include <cstdint>

namespace standin {

enum Mode : uint32_t {
  kAnswersAtOnce = 1,
  kHasActions = 2,
  kWritesJournal = 4,
  kWatchesHazards = 8,
};

extern std::atomic<uint32_t> g_mode;

inline uint32_t CurrentMode() { return g_mode.load(std::memory_order_relaxed); }

inline void SetMode(Mode bit, bool on) {
  if (on) {
    g_mode.fetch_or(bit);
  } else {
    g_mode.fetch_and(~static_cast<uint32_t>(bit));
  }
}

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_MODE_H_
