// What the native backend is compared with: the usual way of doing work off the JavaScript thread, Napi::AsyncWorker on
// libuv's pool, and the plain calls that cost least.

#include <napi.h>

#include <chrono>
#include <thread>

namespace {

class Round final : public Napi::AsyncWorker {
 public:
  Round(Napi::Env env, std::chrono::milliseconds sleep)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), sleep_(sleep) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    if (sleep_.count() > 0) std::this_thread::sleep_for(sleep_);
  }
  void OnOK() override { deferred_.Resolve(Env().Undefined()); }

 private:
  const Napi::Promise::Deferred deferred_;
  const std::chrono::milliseconds sleep_;
};

class Wrapped final : public Napi::ObjectWrap<Wrapped> {
 public:
  explicit Wrapped(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Wrapped>(info) {}
  Napi::Value Nothing(const Napi::CallbackInfo& info) { return info.Env().Undefined(); }
};

class AsyncWorkerRival final : public Napi::Addon<AsyncWorkerRival> {
 public:
  AsyncWorkerRival(Napi::Env env, Napi::Object exports) {
    DefineAddon(exports, {InstanceMethod("nothing", &AsyncWorkerRival::Nothing),
                          InstanceMethod("roundTrip", &AsyncWorkerRival::RoundTrip),
                          InstanceMethod("sleep", &AsyncWorkerRival::Sleep)});
    exports.Set("Wrapped",
                Wrapped::DefineClass(env, "Wrapped", {Wrapped::InstanceMethod("nothing", &Wrapped::Nothing)}));
  }

 private:
  Napi::Value Nothing(const Napi::CallbackInfo& info) { return info.Env().Undefined(); }

  // roundTrip(): a promise, which is resolved when a thread of the pool had a look at the work
  Napi::Value RoundTrip(const Napi::CallbackInfo& info) { return Start(info.Env(), std::chrono::milliseconds(0)); }

  // sleep(ms): the same for work that waits
  Napi::Value Sleep(const Napi::CallbackInfo& info) {
    return Start(info.Env(), std::chrono::milliseconds(info[0].As<Napi::Number>().Int64Value()));
  }

  static Napi::Value Start(Napi::Env env, std::chrono::milliseconds sleep) {
    auto* const round = new Round(env, sleep);
    const Napi::Promise promise = round->promise();
    // It deletes itself when it has ended.
    round->Queue();
    return promise;
  }
};

}  // namespace

NODE_API_ADDON(AsyncWorkerRival)
