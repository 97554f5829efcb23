#include "runtime/thread_context.h"

#include <algorithm>
#include <cstring>

namespace standin {
namespace {

// Plain arrays: a thread that was given up may outlive every destructor.
struct Texts {
  char pending[4096];
  char taken[4096];
};

thread_local int32_t t_device = kNoDeviceSet;
thread_local Texts t_texts;

// The most bytes, at most `room`, that end with a whole character.
size_t WholeCharacters(std::string_view text, size_t room) {
  if (text.size() <= room) return text.size();
  while (room > 0 && (static_cast<unsigned char>(text[room]) & 0xC0) == 0x80) --room;
  return room;
}

}  // namespace

int32_t ThreadDevice() { return t_device; }

void SetThreadDevice(int32_t device) { t_device = device; }

void SetRecentError(std::string_view text) {
  char* pending = t_texts.pending;
  constexpr size_t kRoom = sizeof t_texts.pending - 1;
  const size_t length = WholeCharacters(text, kRoom);
  const size_t old = std::strlen(pending);
  const size_t line_feed = old > 0 && length < kRoom ? 1 : 0;
  const size_t kept = WholeCharacters({pending, old}, std::min(old, kRoom - length - line_feed));
  std::memmove(pending + length + line_feed, pending, kept);
  std::memcpy(pending, text.data(), length);
  if (line_feed == 1) pending[length] = '\n';
  pending[length + line_feed + kept] = '\0';
}

const char* TakeRecentError() {
  if (t_texts.pending[0] == '\0') return nullptr;
  std::memcpy(t_texts.taken, t_texts.pending, sizeof t_texts.taken);
  t_texts.pending[0] = '\0';
  return t_texts.taken;
}

}  // namespace standin
