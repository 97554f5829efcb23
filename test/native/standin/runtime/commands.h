// The commands of control.h.

#ifndef LLM_DATADIST_NODE_STANDIN_COMMANDS_H_
#define LLM_DATADIST_NODE_STANDIN_COMMANDS_H_

#include <string>
#include <string_view>

namespace standin {

// Empty, or what is wrong with one of them.
std::string RunCommands(std::string_view commands);

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_COMMANDS_H_
