// The way of a call through the stand-in: journal, hazards, actions, and at last the work.

#ifndef LLM_DATADIST_NODE_STANDIN_OBSERVED_CALL_H_
#define LLM_DATADIST_NODE_STANDIN_OBSERVED_CALL_H_

#include <cstdint>
#include <exception>
#include <vector>

#include "runtime/actions.h"
#include "runtime/journal.h"
#include "runtime/json_text.h"
#include "runtime/method.h"
#include "runtime/mode.h"

namespace standin {

// Whether anything is switched on that looks at calls.
inline bool IsObserving() { return (CurrentMode() & ~static_cast<uint32_t>(kAnswersAtOnce)) != 0; }

// `arguments` and `results`, which is told the status, write members of a JSON object; `enter` gives what lives as long
// as the call; `clusters` are those that the call is about.
template <typename Arguments, typename Enter, typename Work, typename Results>
uint32_t Observe(Method method, uint64_t object, Arguments arguments, Enter enter, Work work, Results results,
                 const std::vector<uint64_t>& clusters = {}) {
  const InsideCount inside;
  const uint64_t call = NextCall();
  if (JournalIsOn()) {
    JsonText json;
    json.Open('{');
    arguments(json);
    WriteEntry(call, method, object, json.Close('}').Get());
  }
  const auto scope = enter();
  (void)scope;
  try {
    uint32_t status = 0;
    if (!Interfere(method, clusters, &status)) status = work();
    if (JournalIsOn()) {
      JsonText json;
      json.Open('{');
      results(json, status);
      WriteReturn(call, status, json.Close('}').Get());
    }
    return status;
  } catch (const std::exception& exception) {
    if (JournalIsOn()) WriteException(call, exception.what());
    throw;
  } catch (...) {
    if (JournalIsOn()) WriteException(call, "no std::exception");
    throw;
  }
}

// For calls whose entry nothing but the journal and the actions look at.
struct NoScope {};

inline NoScope EnterNothing() { return {}; }
inline void TakeNothing(JsonText&) {}
inline void GiveNothing(JsonText&, uint32_t) {}

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_OBSERVED_CALL_H_
