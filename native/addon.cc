#include "addon.h"

#include "arguments.h"
#include "data_dist.h"
#include "own_property.h"

// Two builds compile this file; a define that one of them lost would show only when something
// throws.
#if !defined(NAPI_VERSION) || NAPI_VERSION != 8
#error "The addon is built against Node-API 8: define NAPI_VERSION=8."
#endif
#ifndef NODE_ADDON_API_CPP_EXCEPTIONS_ALL
#error "Define NODE_ADDON_API_CPP_EXCEPTIONS_ALL, or a std::exception ends the process."
#endif
#ifndef NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#error "Define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS, or worker.terminate() ends the process."
#endif

namespace llm_datadist_node {
namespace {

Napi::Value TextOrNull(Napi::Env env, const char* text) {
  return text == nullptr ? env.Null() : Napi::Value(Napi::String::New(env, text));
}

Napi::Object Describe(Napi::Env env, const Vendor& vendor) {
  Napi::Object value = Napi::Object::New(env);
  SetOwn(value, "libraryPath", Napi::String::New(env, vendor.library_path));
  SetOwn(value, "runtimePath", Napi::String::New(env, vendor.runtime_path));
  SetOwn(value, "bridgePath", Napi::String::New(env, vendor.bridge_path));
  SetOwn(value, "runtimeVersion", TextOrNull(env, vendor.bridge->runtime_version()));
  SetOwn(value, "socName", TextOrNull(env, vendor.bridge->soc_name()));
  return value;
}

}  // namespace

Addon::Addon(Napi::Env env, Napi::Object exports) : env_(env), environment_(std::make_shared<Environment>(env)) {
  const auto version = Napi::String::New(env, LLM_DATADIST_VERSION);
  const auto napi_version = Napi::Number::New(env, NAPI_VERSION);
  DefineAddon(exports, {InstanceValue("version", version, napi_enumerable),
                        InstanceValue("napiVersion", napi_version, napi_enumerable),
                        InstanceValue("DataDist", DataDist::Define(env), napi_enumerable),
                        InstanceMethod<&Addon::Configure>("configure", napi_enumerable),
                        InstanceMethod<&Addon::OpenLibrary>("openLibrary", napi_enumerable),
                        InstanceMethod<&Addon::Close>("close", napi_enumerable)});
  // After the thread-safe function, whose own hook then runs later than this one.
  napi_add_env_cleanup_hook(env, OnCleanUp, this);
}

Addon::~Addon() {
  // A hook that runs is no hook any more: Deno and Bun end the process when it is removed after that.
  if (is_hooked_) napi_remove_env_cleanup_hook(env_, OnCleanUp, this);
}

void Addon::OnCleanUp(void* data) {
  auto* const addon = static_cast<Addon*>(data);
  addon->is_hooked_ = false;
  addon->environment_->Close(addon->close_limit_ms_);
}

const std::shared_ptr<Environment>& Addon::EnvironmentOf(Napi::Env env) {
  return env.GetInstanceData<Addon>()->environment_;
}

const Vendor* Addon::VendorOf(Napi::Env env) { return env.GetInstanceData<Addon>()->vendor_; }

void Addon::Configure(const Napi::CallbackInfo& info) {
  close_limit_ms_ = Arguments(info).Uint32();
}

Napi::Value Addon::OpenLibrary(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Arguments arguments(info);
  std::vector<Place> places;
  for (std::string& library : arguments.Texts()) places.push_back({std::move(library), {}});
  const std::vector<std::vector<std::string>> runtimes = arguments.TextLists();
  for (size_t i = 0; i < places.size() && i < runtimes.size(); ++i) places[i].runtimes = runtimes[i];
  const std::string bridge_path = arguments.Text();

  std::vector<Attempt> attempts;
  vendor_ = OpenVendor(places, bridge_path, &attempts);

  Napi::Array tried = Napi::Array::New(env, attempts.size());
  for (uint32_t i = 0; i < attempts.size(); ++i) {
    Napi::Object attempt = Napi::Object::New(env);
    SetOwn(attempt, "path", Napi::String::New(env, attempts[i].path));
    SetOwn(attempt, "error", Napi::String::New(env, attempts[i].error));
    SetOwn(tried, i, attempt);
  }
  Napi::Object result = Napi::Object::New(env);
  SetOwn(result, "attempts", tried);
  if (vendor_ != nullptr) SetOwn(result, "library", Describe(env, *vendor_));
  return result;
}

void Addon::Close(const Napi::CallbackInfo& info) { environment_->Close(Arguments(info).Uint32()); }

NODE_API_ADDON(Addon)

}  // namespace llm_datadist_node
