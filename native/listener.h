// The sockets of an instance that listens: the library gives no handle to them, and does not survive what comes in over
// them while it is finalized.

#ifndef LLM_DATADIST_NODE_LISTENER_H_
#define LLM_DATADIST_NODE_LISTENER_H_

#include <netinet/in.h>

#include <chrono>
#include <optional>
#include <string>

namespace llm_datadist_node {

class Listener {
 public:
  // From the text of the option: an IPv4 address and a port. Nothing for any other text.
  static std::optional<Listener> Parse(const std::string& option);

  // Children of the process do not inherit the port: it would stay taken when this process dies.
  void CloseOnExec() const;

  // Lets no more connections come in and ends those that have; waits until the library's threads have let go of them, but
  // not beyond the limit.
  void Drain(std::chrono::milliseconds limit) const;

  // While it lives no request to connect comes in: it is repeated by its sender's system, within a second. What has come in
  // before goes on.
  class Pause {
   public:
    explicit Pause(const Listener& listener);
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

    // Whether no connection is open or waits for the library to take it. False where that cannot be seen.
    bool IsQuiet() const;

   private:
    const Listener& listener_;
  };

 private:
  Listener(in_addr address, in_port_t port) : address_(address), port_(port) {}

  // Calls `visit(fd, listens)` for each socket of this process that is bound to the address. False where the sockets cannot
  // be listed.
  template <typename Visit>
  bool ForEachSocket(Visit visit) const;

  // In network byte order.
  in_addr address_;
  in_port_t port_;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_LISTENER_H_
