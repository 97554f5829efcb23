// The network between the instances of the process: who listens where.

#ifndef LLM_DATADIST_NODE_STANDIN_FABRIC_H_
#define LLM_DATADIST_NODE_STANDIN_FABRIC_H_

#include <cstdint>
#include <string>

#include "library/option_text.h"
#include "library/status.h"

namespace standin {

class Session;

// A port that is taken. It outlives its session where Initialize failed late: then nobody answers on it.
struct Binding {
  std::string ip;
  uint16_t port = 0;
  Session* session = nullptr;
};

class Fabric {
 public:
  // Where all instances of the process meet.
  static Fabric& Get();

  Status Bind(const ListenAddress& listen, Session* session, Binding** binding);
  // Nobody answers there any more, and the port stays taken.
  void Abandon(Binding* binding);
  // The binding is gone.
  void Release(Binding* binding);

  struct Connection {
    bool accepted = false;
    // Null where the port is held by an instance whose Initialize failed.
    Session* session = nullptr;
  };
  Connection Connect(const std::string& ip, uint16_t port);

 private:
  Fabric() = default;
};

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_FABRIC_H_
