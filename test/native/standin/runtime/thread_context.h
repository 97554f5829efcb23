// What the runtime keeps for each thread: its device and the text of its errors.

#ifndef LLM_DATADIST_NODE_STANDIN_THREAD_CONTEXT_H_
#define LLM_DATADIST_NODE_STANDIN_THREAD_CONTEXT_H_

#include <cstdint>
#include <string_view>

namespace standin {

constexpr int32_t kNoDeviceSet = -1;

// The device of the calling thread, kNoDeviceSet without one.
int32_t ThreadDevice();
void SetThreadDevice(int32_t device);

// Adds to what the calling thread has not read yet; the newest text comes first, as in the runtime.
void SetRecentError(std::string_view text);
// The texts since the last time, null when there are none. Valid until the thread asks again.
const char* TakeRecentError();

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_THREAD_CONTEXT_H_
