#ifndef LLM_DATADIST_NODE_TEST_CRASH_STACK_H_
#define LLM_DATADIST_NODE_TEST_CRASH_STACK_H_

// From now on a thread that gets SIGSEGV prints its stack to stderr before the process ends.
void PrintStackOfCrashes();

#endif  // LLM_DATADIST_NODE_TEST_CRASH_STACK_H_
