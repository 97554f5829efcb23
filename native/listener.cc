#include "listener.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstdlib>
#include <memory>
#include <thread>

namespace llm_datadist_node {

std::optional<Listener> Listener::Parse(const std::string& option) {
  const size_t colon = option.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  in_addr address{};
  if (inet_pton(AF_INET, option.substr(0, colon).c_str(), &address) != 1) return std::nullopt;
  // The library keeps the low 16 bits of the number.
  const auto port = static_cast<uint16_t>(std::strtoul(option.c_str() + colon + 1, nullptr, 10));
  if (port == 0) return std::nullopt;
  return Listener(address, htons(port));
}

namespace {

// Requests to connect are dropped unseen. To shut the socket down would do too, but the library's thread answers that with
// a sleep of a second, for which Finalize waits.
void RefuseAll(int fd) {
  sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog program{1, &drop};
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

bool HasOption(int fd, int option, int wanted) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 && value == wanted;
}

bool HasPeer(int fd) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  return getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0;
}

void RefuseNoMore(int fd) {
  const int unused = 0;
  setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
}

// Connections that the system has made and the library's thread has not taken yet. Of a listening socket the kernel tells
// their number where it tells of bytes on their way otherwise.
bool HasWaiting(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || info.tcpi_unacked > 0;
}

}  // namespace

template <typename Visit>
bool Listener::ForEachSocket(Visit visit) const {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc/self/fd"), closedir);
  if (folder == nullptr) return false;
  while (const dirent* entry = readdir(folder.get())) {
    const int fd = std::atoi(entry->d_name);
    sockaddr_in name{};
    socklen_t size = sizeof name;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) continue;
    if (name.sin_family != AF_INET || name.sin_port != port_) continue;
    if (!HasOption(fd, SO_TYPE, SOCK_STREAM)) continue;
    const bool same = name.sin_addr.s_addr == address_.s_addr;
    if (HasOption(fd, SO_ACCEPTCONN, 1)) {
      if (same) visit(fd, true);
      continue;
    }
    // What listens on all addresses gets connections to each of them.
    if ((same || address_.s_addr == htonl(INADDR_ANY)) && HasPeer(fd)) visit(fd, false);
  }
  return true;
}

bool Listener::WasAccepted(int fd) const {
  if (!keeps_requests_) return true;
  // No room for the request: the kernel gives its length, and keeps it.
  char none = 0;
  socklen_t size = 0;
  getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, &none, &size);
  return size > 0;
}

void Listener::Claim() {
  ForEachSocket([this](int fd, bool listens) {
    const int flags = fcntl(fd, F_GETFD);
    if (flags >= 0) fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    const int on = 1;
    if (listens && setsockopt(fd, IPPROTO_TCP, TCP_SAVE_SYN, &on, sizeof on) == 0) keeps_requests_ = true;
  });
}

void Listener::Reopen() const {
  ForEachSocket([](int fd, bool listens) {
    if (listens) RefuseNoMore(fd);
  });
}

void Listener::Drain(std::chrono::milliseconds limit) const {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  // Twice in a row: the library's thread may have taken one that had come in before.
  for (int quiet = 0; quiet < 2 && std::chrono::steady_clock::now() < deadline;) {
    bool listening = false;
    bool connected = false;
    ForEachSocket([&](int fd, bool listens) {
      if (listens) {
        listening = true;
        RefuseAll(fd);
      } else if (WasAccepted(fd)) {
        connected = true;
        shutdown(fd, SHUT_RDWR);
      }
    });
    if (!listening && !connected) return;
    quiet = connected ? 0 : quiet + 1;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

Listener::Pause::Pause(const Listener& listener) : listener_(listener) {
  listener_.ForEachSocket([](int fd, bool listens) {
    if (listens) RefuseAll(fd);
  });
}

Listener::Pause::~Pause() {
  listener_.ForEachSocket([](int fd, bool listens) {
    if (listens) RefuseNoMore(fd);
  });
}

bool Listener::Pause::IsQuiet() const {
  // Twice: the library's thread may be about to take one, which is in neither place for a moment.
  for (int look = 0; look < 2; ++look) {
    if (look > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    bool quiet = true;
    const bool seen = listener_.ForEachSocket([&](int fd, bool listens) { quiet = quiet && listens && !HasWaiting(fd); });
    if (!seen || !quiet) return false;
  }
  return true;
}

}  // namespace llm_datadist_node
