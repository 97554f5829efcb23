#include "library/fabric.h"

#include <map>
#include <mutex>

#include "library/session.h"

namespace standin {
namespace {

constexpr uint16_t kFirstEphemeralPort = 32768;
constexpr const char* kAnyIpv4 = "0.0.0.0";
constexpr const char* kAnyIpv6 = "::";
constexpr const char* kLoopback = "127.0.0.1";

using OnPort = std::map<std::string, Binding*>;

struct Listeners {
  std::mutex mutex;
  std::map<uint16_t, OnPort> by_port;
};

Listeners& TheListeners() {
  static Listeners& listeners = *new Listeners;
  return listeners;
}

bool IsAny(const std::string& ip) { return ip == kAnyIpv4 || ip == kAnyIpv6; }

Binding* Find(const OnPort& on_port, const std::string& ip) {
  for (const std::string& candidate : {ip, std::string(kAnyIpv4), std::string(kAnyIpv6)}) {
    const auto found = on_port.find(candidate);
    if (found != on_port.end()) return found->second;
  }
  return nullptr;
}

}  // namespace

Fabric& Fabric::Get() {
  static Fabric& fabric = *new Fabric;
  return fabric;
}

Status Fabric::Bind(const ListenAddress& listen, Session* session, Binding** binding) {
  Listeners& listeners = TheListeners();
  const std::lock_guard<std::mutex> lock(listeners.mutex);
  uint16_t port = static_cast<uint16_t>(listen.port);
  if (port == 0) {
    for (port = kFirstEphemeralPort; listeners.by_port.count(port) > 0;) ++port;
  }
  OnPort& on_port = listeners.by_port[port];
  const bool taken = IsAny(listen.ip) ? !on_port.empty() : Find(on_port, listen.ip) != nullptr;
  if (taken) return Refuse(kFailed, "%s:%u is taken", listen.ip.c_str(), port);
  *binding = new Binding{listen.ip, port, session};
  on_port[listen.ip] = *binding;
  return kSuccess;
}

void Fabric::Abandon(Binding* binding) {
  Listeners& listeners = TheListeners();
  const std::lock_guard<std::mutex> lock(listeners.mutex);
  binding->session = nullptr;
}

void Fabric::Release(Binding* binding) {
  Listeners& listeners = TheListeners();
  const std::lock_guard<std::mutex> lock(listeners.mutex);
  const auto on_port = listeners.by_port.find(binding->port);
  on_port->second.erase(binding->ip);
  if (on_port->second.empty()) listeners.by_port.erase(on_port);
  delete binding;
}

Fabric::Connection Fabric::Connect(const std::string& ip, uint16_t port) {
  Listeners& listeners = TheListeners();
  const std::lock_guard<std::mutex> lock(listeners.mutex);
  const auto on_port = listeners.by_port.find(port);
  if (on_port == listeners.by_port.end()) return {};
  // Who connects to the any-address reaches himself.
  const Binding* binding = Find(on_port->second, ip == kAnyIpv4 ? kLoopback : ip);
  return binding == nullptr ? Connection{} : Connection{true, binding->session};
}

}  // namespace standin
