// What a build on a recent host would ask of glibc and libstdc++ beyond what Node itself asks: here it is replaced, so
// that one binary serves every host with glibc 2.28 and the libstdc++ of GCC 6. scripts/check-glibc.js knows the limits,
// and names the symbol where another one is needed here.
//
// All is hidden: it catches the calls of this binary and nobody else's. Both the addon and the bridge are linked with it;
// what one of them does not call the linker drops.

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <dlfcn.h>
#include <pthread.h>

#include <cerrno>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <new>

#if defined(__GLIBC__) && defined(__GLIBCXX__)

#define FLOOR_HIDDEN __attribute__((visibility("hidden")))
// Makes `name` call the library's `symbol` as it was at that version. The function behind the newest version is the same.
#define FLOOR_BIND(name, symbol, version) __asm__(".symver " #name ", " symbol "@" version)

// The first version of glibc for each processor; functions that moved into libc.so.6 later got a second one then.
#if defined(__x86_64__)
#define FLOOR_GLIBC "GLIBC_2.2.5"
#define FLOOR_GLIBC_DLINFO "GLIBC_2.3.3"
#else
#define FLOOR_GLIBC "GLIBC_2.17"
#define FLOOR_GLIBC_DLINFO "GLIBC_2.17"
#endif

extern "C" {

// glibc 2.32: lets libstdc++'s headers skip atomic operations in a process of one thread, which Node never is.
FLOOR_HIDDEN char __libc_single_threaded = 0;

// glibc 2.34: from libdl.so.2, which Node brings along on older hosts, into libc.so.6.
void* floor_dlopen(const char* path, int mode);
void* floor_dlsym(void* handle, const char* name);
int floor_dlclose(void* handle);
char* floor_dlerror();
int floor_dlinfo(void* handle, int request, void* result);
FLOOR_BIND(floor_dlopen, "dlopen", FLOOR_GLIBC);
FLOOR_BIND(floor_dlsym, "dlsym", FLOOR_GLIBC);
FLOOR_BIND(floor_dlclose, "dlclose", FLOOR_GLIBC);
FLOOR_BIND(floor_dlerror, "dlerror", FLOOR_GLIBC);
FLOOR_BIND(floor_dlinfo, "dlinfo", FLOOR_GLIBC_DLINFO);

FLOOR_HIDDEN void* dlopen(const char* path, int mode) { return floor_dlopen(path, mode); }
FLOOR_HIDDEN void* dlsym(void* __restrict handle, const char* __restrict name) { return floor_dlsym(handle, name); }
FLOOR_HIDDEN int dlclose(void* handle) { return floor_dlclose(handle); }
FLOOR_HIDDEN char* dlerror() { return floor_dlerror(); }
FLOOR_HIDDEN int dlinfo(void* __restrict handle, int request, void* __restrict result) {
  return floor_dlinfo(handle, request, result);
}

// glibc 2.34: from libpthread.so.0, likewise. What std::call_once makes.
int floor_pthread_once(pthread_once_t* control, void (*function)());
FLOOR_BIND(floor_pthread_once, "pthread_once", FLOOR_GLIBC);
FLOOR_HIDDEN int pthread_once(pthread_once_t* control, void (*function)()) {
  return floor_pthread_once(control, function);
}

// glibc 2.30: what libstdc++'s headers make of waits with a deadline on the steady clock.
FLOOR_HIDDEN int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                                        const timespec* deadline) {
  using ClockWait = int (*)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const timespec*);
  static const auto clock_wait = reinterpret_cast<ClockWait>(floor_dlsym(RTLD_DEFAULT, "pthread_cond_clockwait"));
  if (clock_wait != nullptr) return clock_wait(condition, mutex, clock, deadline);
  // An older glibc waits by the clock of the day. When that one is set meanwhile the wait ends too early or too late;
  // the headers look at their own clock afterwards, and wait again when it was too early.
  timespec now;
  timespec until;
  if (clock_gettime(clock, &now) != 0 || clock_gettime(CLOCK_REALTIME, &until) != 0) return EINVAL;
  constexpr long kSecond = 1000000000;
  until.tv_sec += deadline->tv_sec - now.tv_sec;
  until.tv_nsec += deadline->tv_nsec - now.tv_nsec;
  if (until.tv_nsec < 0) {
    until.tv_nsec += kSecond;
    --until.tv_sec;
  } else if (until.tv_nsec >= kSecond) {
    until.tv_nsec -= kSecond;
    ++until.tv_sec;
  }
  return pthread_cond_timedwait(condition, mutex, &until);
}

// GCC 12 (GLIBCXX_3.4.30): std::condition_variable::wait, which may be left by the cancellation of a thread since then.
// Nobody cancels threads here.
#define FLOOR_WAIT "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE"
void floor_wait(std::condition_variable* condition, std::unique_lock<std::mutex>* lock);
FLOOR_BIND(floor_wait, FLOOR_WAIT, "GLIBCXX_3.4.11");
FLOOR_HIDDEN void FloorWait(std::condition_variable* condition, std::unique_lock<std::mutex>* lock) __asm__(FLOOR_WAIT);
void FloorWait(std::condition_variable* condition, std::unique_lock<std::mutex>* lock) { floor_wait(condition, lock); }

// GCC 11 (GLIBCXX_3.4.29): std::__throw_bad_array_new_length.
[[noreturn]] FLOOR_HIDDEN void FloorThrowBadArrayNewLength() __asm__("_ZSt28__throw_bad_array_new_lengthv");
void FloorThrowBadArrayNewLength() { throw std::bad_array_new_length(); }

}  // extern "C"

#endif  // glibc and libstdc++
#endif  // Linux on a processor that there are prebuilt binaries for
