// Properties and elements of values that JavaScript gets. They are defined, not set: a setter on Object.prototype or
// Array.prototype is the program's, and would take the value away or throw.

#ifndef LLM_DATADIST_NODE_OWN_PROPERTY_H_
#define LLM_DATADIST_NODE_OWN_PROPERTY_H_

#include <napi.h>

#include <string>

namespace llm_datadist_node {

inline void SetOwn(Napi::Object object, const char* name, napi_value value) {
  object.DefineProperty(Napi::PropertyDescriptor::Value(name, value, napi_default_jsproperty));
}

inline void SetOwn(Napi::Array array, uint32_t index, napi_value value) {
  SetOwn(static_cast<Napi::Object>(array), std::to_string(index).c_str(), value);
}

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_OWN_PROPERTY_H_
