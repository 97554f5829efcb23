// The control functions for JavaScript: a Node-API addon for tests, which looks into the stand-in that is loaded.

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <napi.h>

#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "control.h"

#if !defined(NAPI_VERSION) || NAPI_VERSION != 8
#error "The addon is built against Node-API 8: define NAPI_VERSION=8."
#endif
#ifndef NODE_ADDON_API_CPP_EXCEPTIONS_ALL
#error "Define NODE_ADDON_API_CPP_EXCEPTIONS_ALL, or a std::exception ends the process."
#endif
#ifndef NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#error "Define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS, or worker.terminate() ends the process."
#endif

namespace {

struct Functions {
  decltype(&standin_command) command;
  decltype(&standin_release) release;
  decltype(&standin_wait_entered) wait_entered;
  decltype(&standin_wait_held) wait_held;
  decltype(&standin_read) read;
  decltype(&standin_free_text) free_text;
};

template <typename Function>
void Find(Napi::Env env, void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  if (*function == nullptr) throw Napi::Error::New(env, dlerror());
}

// A wait of its own thread, because libuv's few threads are what tests look at. The thread-safe function goes with the
// environment, whoever still has it: it is called only while the environment is there, and released by JavaScript's thread.
class Wait {
 public:
  static Napi::Value Start(Napi::Env env, decltype(&standin_wait_entered) function, const std::string& method,
                           uint64_t count, uint32_t timeout_ms) {
    const auto wait = std::make_shared<Wait>(env);
    wait->self_ = wait;
    // After the thread-safe function, whose own hook then runs later than this one.
    napi_add_env_cleanup_hook(env, OnCleanUp, wait.get());
    const Napi::Value promise = wait->deferred_.Promise();
    std::thread([wait, function, method, count, timeout_ms] {
      wait->result_ = function(method.c_str(), count, timeout_ms);
      const std::lock_guard<std::mutex> lock(wait->mutex_);
      if (!wait->gone_) wait->done_.NonBlockingCall(wait.get(), Settle);
    }).detach();
    return promise;
  }

  explicit Wait(Napi::Env env)
      : deferred_(Napi::Promise::Deferred::New(env)),
        done_(Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}),
                                            "standin wait", 0, 1)) {}

 private:
  static void OnCleanUp(void* data) {
    auto* const wait = static_cast<Wait*>(data);
    const std::lock_guard<std::mutex> lock(wait->mutex_);
    wait->gone_ = true;
  }

  static void Settle(Napi::Env env, Napi::Function, Wait* wait) {
    const std::shared_ptr<Wait> last = std::move(wait->self_);
    if (static_cast<napi_env>(env) == nullptr) return;
    napi_remove_env_cleanup_hook(env, OnCleanUp, wait);
    wait->deferred_.Resolve(Napi::Number::New(env, wait->result_));
    wait->done_.Release();
  }

  std::shared_ptr<Wait> self_;
  std::mutex mutex_;
  bool gone_ = false;
  Napi::Promise::Deferred deferred_;
  Napi::ThreadSafeFunction done_;
  int result_ = 0;
};

uint64_t ToUint64(const Napi::Value& value) {
  bool lossless = false;
  return value.As<Napi::BigInt>().Uint64Value(&lossless);
}

class Control final : public Napi::Addon<Control> {
 public:
  Control(Napi::Env, Napi::Object exports) {
    DefineAddon(exports, {InstanceMethod("open", &Control::Open), InstanceMethod("listen", &Control::Listen)});
  }

 private:
  // listen(): a socket that listens on a port of 127.0.0.1 as the vendor's library makes them, without close-on-exec.
  Napi::Value Listen(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const name = reinterpret_cast<sockaddr*>(&address);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, name, size) != 0 || listen(fd, 1) != 0 || getsockname(fd, name, &size) != 0) {
      throw Napi::Error::New(env, "no socket can listen on 127.0.0.1");
    }
    Napi::Object listener = Napi::Object::New(env);
    listener["fd"] = Napi::Number::New(env, fd);
    listener["port"] = Napi::Number::New(env, ntohs(address.sin_port));
    return listener;
  }

  // open(path, load): the control functions of the runtime library at `path`. Without `load` it must be loaded already.
  Napi::Value Open(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::string path = info[0].As<Napi::String>();
    const int flags = info[1].As<Napi::Boolean>() ? RTLD_NOW | RTLD_GLOBAL : RTLD_NOW | RTLD_NOLOAD;
    void* const library = dlopen(path.c_str(), flags);
    if (library == nullptr) {
      const char* const problem = dlerror();
      throw Napi::Error::New(env, problem == nullptr ? path + " is not loaded" : problem);
    }
    Functions functions;
    Find(env, library, "standin_command", &functions.command);
    Find(env, library, "standin_release", &functions.release);
    Find(env, library, "standin_wait_entered", &functions.wait_entered);
    Find(env, library, "standin_wait_held", &functions.wait_held);
    Find(env, library, "standin_read", &functions.read);
    Find(env, library, "standin_free_text", &functions.free_text);
    return Wrap(env, functions);
  }

  static Napi::Value Wrap(Napi::Env env, const Functions& functions) {
    Napi::Object object = Napi::Object::New(env);
    const auto define = [&](const char* name, auto function) {
      object.Set(name, Napi::Function::New(env, function, name));
    };
    // command(text): undefined, or what is wrong with it
    define("command", [functions](const Napi::CallbackInfo& info) -> Napi::Value {
      const std::string text = info[0].As<Napi::String>();
      const char* const problem = functions.command(text.c_str());
      return problem == nullptr ? info.Env().Undefined() : Napi::String::New(info.Env(), problem);
    });
    // release(method, count): whether there is such a method
    define("release", [functions](const Napi::CallbackInfo& info) -> Napi::Value {
      const std::string method = info[0].As<Napi::String>();
      return Napi::Boolean::New(info.Env(), functions.release(method.c_str(), ToUint64(info[1])));
    });
    // waitEntered(method, count, timeoutMs), waitHeld(...): a promise of what the function of control.h gives
    const auto define_wait = [&](const char* name, decltype(&standin_wait_entered) wait) {
      define(name, [wait](const Napi::CallbackInfo& info) -> Napi::Value {
        const std::string method = info[0].As<Napi::String>();
        const uint32_t timeout_ms = info[2].As<Napi::Number>().Uint32Value();
        return Wait::Start(info.Env(), wait, method, ToUint64(info[1]), timeout_ms);
      });
    };
    define_wait("waitEntered", functions.wait_entered);
    define_wait("waitHeld", functions.wait_held);
    // read(what): undefined, or the text
    define("read", [functions](const Napi::CallbackInfo& info) -> Napi::Value {
      const std::string what = info[0].As<Napi::String>();
      char* const text = functions.read(what.c_str());
      if (text == nullptr) return info.Env().Undefined();
      const Napi::Value value = Napi::String::New(info.Env(), text);
      functions.free_text(text);
      return value;
    });
    return object;
  }
};

NODE_API_ADDON(Control)

}  // namespace
