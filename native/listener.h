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

  // When the library has begun to listen. Children of the process do not inherit the port: it would stay taken when this
  // process dies. What is accepted from now on is distinct from other sockets with the port, which are the program's.
  void Claim();

  // Lets no more connections come in and ends those that have; waits until the library's threads have let go of them, but
  // not beyond the limit.
  void Drain(std::chrono::milliseconds limit) const;

  // Lets connections come in again, where the library listens on after all.
  void Reopen() const;

  bool HasPortOf(const Listener& other) const { return port_ == other.port_; }

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

  // Calls `visit(fd, listens)` for each TCP socket of this process that listens on the address or has a connection to it.
  bool WasAccepted(int fd) const;

  // Calls `visit(fd, listens)` for each TCP socket of this process that listens on the address, or has it and a peer. False where the sockets cannot
  // be listed.
  template <typename Visit>
  bool ForEachSocket(Visit visit) const;

  // In network byte order.
  in_addr address_;
  in_port_t port_;
  // Accepted sockets keep the request that they come from. Where the kernel cannot do that, all with the port are taken
  // for accepted ones.
  bool keeps_requests_ = false;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_LISTENER_H_
