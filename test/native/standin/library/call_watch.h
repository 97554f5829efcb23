// Which calls are in which object, and whether two of them may be there together.

#ifndef LLM_DATADIST_NODE_STANDIN_CALL_WATCH_H_
#define LLM_DATADIST_NODE_STANDIN_CALL_WATCH_H_

#include <cstdint>
#include <vector>

#include "runtime/method.h"

namespace standin {

class Engine;

struct KnownObject {
  // From 1 on, never used again; 0 for an object that is none any more.
  uint64_t number = 0;
  // Never deleted: a call that is inside goes on with it when its object is destroyed.
  Engine* engine = nullptr;
};

// Objects are known by their address, because a destroyed one cannot be asked.
uint64_t AddObject(const void* object);
void SetEngine(const void* object, Engine* engine);
void RemoveObject(const void* object);
KnownObject FindObject(const void* object);

struct CallDetails {
  Method method;
  // Of a transfer, a link or an unlink.
  std::vector<uint64_t> clusters;
  // The local cache of a transfer or an unregistration.
  bool has_cache = false;
  int64_t cache_id = 0;
};

// Lives as long as the call.
class CallWatch {
 public:
  CallWatch(const void* object, CallDetails details);
  ~CallWatch();
  CallWatch(const CallWatch&) = delete;
  CallWatch& operator=(const CallWatch&) = delete;

 private:
  uint64_t number_;
};

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_CALL_WATCH_H_
