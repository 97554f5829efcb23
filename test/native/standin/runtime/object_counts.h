// How many objects of the vendor's class there are, for the counters.

#ifndef LLM_DATADIST_NODE_STANDIN_OBJECT_COUNTS_H_
#define LLM_DATADIST_NODE_STANDIN_OBJECT_COUNTS_H_

#include <cstdint>

namespace standin {

void CountObject(int change);
void CountInitialised(int change);

uint64_t LiveObjects();
uint64_t InitialisedObjects();

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_OBJECT_COUNTS_H_
