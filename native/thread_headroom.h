#ifndef LLM_DATADIST_NODE_THREAD_HEADROOM_H_
#define LLM_DATADIST_NODE_THREAD_HEADROOM_H_

#include <cstddef>

namespace llm_datadist_node {

// Whether the process can start this number of threads more, found by starting them: limits of users, containers and
// memory cannot be distinguished or foreseen in any other way.
bool CanStartThreads(size_t count);

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_THREAD_HEADROOM_H_
