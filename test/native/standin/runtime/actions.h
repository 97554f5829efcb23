// What a test asks of the calls of a method: to wait, to answer with a status, to throw, to take the process along.

#ifndef LLM_DATADIST_NODE_STANDIN_ACTIONS_H_
#define LLM_DATADIST_NODE_STANDIN_ACTIONS_H_

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "runtime/method.h"

namespace standin {

enum class Outcome {
  kProceed,
  kStatus,
  kThrowRuntimeError,
  kThrowBadAlloc,
  kThrowInt,
  kAbort,
  kSegmentationFault,
  kHang,
};

// One action may wait, then sleep, then have an outcome.
struct Action {
  bool block = false;
  // Taken where a transfer moves its bytes, with the library's locks held, and not where the call comes in.
  bool in_transport = false;
  bool has_cluster = false;
  // The peer of the calls that it applies to.
  uint64_t cluster = 0;
  uint32_t delay_ms = 0;
  Outcome outcome = Outcome::kProceed;
  uint32_t status = 0;
  std::string thrown_text;
  bool has_error_text = false;
  std::string error_text;
  // Calls that pass before the first one that it applies to, and how many it applies to.
  uint64_t skip = 0;
  uint64_t times = std::numeric_limits<uint64_t>::max();
};

// The first action of a method that has any of its `times` left applies to a call.
void AddAction(Method method, Action action);
// Takes the place of all that there are. The method's calls are counted anew.
void SetAction(Method method, Action action);
void RemoveActions(Method method);
void RemoveAllActions();

constexpr uint64_t kAllBlocked = std::numeric_limits<uint64_t>::max();

// Lets so many blocked calls go on, the oldest first. With kAllBlocked those go on that are blocked now, and no later
// call is blocked by the actions that there are.
void Release(Method method, uint64_t count);
void ReleaseAll();

// What a call does on its way in. True where an action decided its status. Throws what the action says. `clusters` are
// those that the call is about.
bool Interfere(Method method, const std::vector<uint64_t>& clusters, uint32_t* status);
// The same where a transfer moves its bytes; of a push once for each layer.
bool InterfereInTransport(Method method, uint64_t cluster, uint32_t* status);

// Whether so many calls came in before the time was up, since load, the last reset and the method's last SetAction.
bool WaitEntered(Method method, uint64_t count, uint32_t timeout_ms);
void ForgetEntered();
// Whether so many calls of the method were held by an action at a time, on their way in or in the transport, before the
// time was up.
bool WaitHeld(Method method, uint64_t count, uint32_t timeout_ms);

// Counts the calls that are inside, as long as anything is switched on that looks at calls.
class InsideCount {
 public:
  InsideCount();
  ~InsideCount();
  InsideCount(const InsideCount&) = delete;
  InsideCount& operator=(const InsideCount&) = delete;
};

uint64_t ThreadsInside();

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_ACTIONS_H_
