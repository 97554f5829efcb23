// LeakSanitizer leaves SIGSEGV alone here, because of tests whose children end by it. A crash of the runner itself would say
// nothing about where it was: this prints the stack, and leaves the rest to the handler before.

#include "crash_stack.h"

#include <execinfo.h>
#include <unistd.h>

#include <csignal>

namespace {

struct sigaction g_before;

void Print(int signal, siginfo_t* info, void*) {
  constexpr char kTitle[] = "SIGSEGV in the leak run, at:\n";
  void* frames[64];
  (void)!write(STDERR_FILENO, kTitle, sizeof kTitle - 1);
  backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
  sigaction(SIGSEGV, &g_before, nullptr);
  // A fault happens again as soon as this has returned; a signal that was sent does not.
  if (info->si_code <= 0) raise(signal);
}

}  // namespace

void PrintStackOfCrashes() {
  // The first call loads a library, which a handler may not.
  void* frame;
  backtrace(&frame, 1);
  struct sigaction action {};
  action.sa_sigaction = Print;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &g_before);
}
