// The addon: names to functions. Fills argument records from JavaScript objects, calls the backend, turns failures into
// JavaScript errors, and nothing else. Arguments were checked in TypeScript (src/ops/check.ts), which words the errors that
// users see; record.cpp checks once more what would corrupt memory: that every array has the element and the length that the
// kernel counts on.

#include <dlfcn.h>
#include <napi.h>

#include <cstring>
#include <string>
#include <vector>

#include "../cpu/blas.h"
#include "../cpu/bounds.h"
#include "../cpu/dispatch.h"
#include "../cpu/pool.h"
#include "devices.h"
#include "promises.h"
#include "record.h"
#include "staging.h"
#include "tensors.h"

namespace {

const BoundOp& bound_op(const Napi::CallbackInfo& info) {
  const BoundOp& bound = *static_cast<const BoundOp*>(info.Data());
  if (info.Length() < 1 || !info[0].IsObject())
    throw Napi::TypeError::New(info.Env(), std::string(bound.entry->name) + ": expected an object of arguments");
  return bound;
}

// op(arguments): runs on this thread and the pool's.
Napi::Value call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const BoundOp& bound = bound_op(info);
  Record record;
  RecordArrays arrays;
  fill_record(env, bound, info[0].As<Napi::Object>(), &record, bound.lane ? &arrays : nullptr);
  std::vector<Extent> of_host;
  for (const ArrayArgument& array : arrays.of_host) of_host.push_back({array.field, array.bytes});
  ScError error = {};
  const int32_t code = bound.lane ? enqueue_staged(bound, record, of_host, &error) : call_op(bound, record, nullptr, &error);
  if (code != 0) throw Napi::Error::New(env, failure(bound.entry->name, bound, error));
  return env.Undefined();
}

// op(arguments, name, given): runs on the library's threads; see promises.h.
Napi::Value start(const Napi::CallbackInfo& info) {
  const BoundOp& bound = bound_op(info);
  return start_call(info.Env(), bound, info[0].As<Napi::Object>(), info[1].As<Napi::String>().Utf8Value(),
                    info[2].As<Napi::Array>());
}

// firstOutside(values: Int32Array, least, most): the index of the first element outside least … most, or −1.
Napi::Value first_outside(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  napi_typedarray_type type;
  size_t length = 0;
  void* elements = nullptr;
  if (info.Length() < 3 || !info[0].IsTypedArray() ||
      napi_get_typedarray_info(env, info[0], &type, &length, &elements, nullptr, nullptr) != napi_ok ||
      type != napi_int32_array)
    throw Napi::TypeError::New(env, "firstOutside: expected an Int32Array and two bounds");
  const int32_t* values = static_cast<const int32_t*>(elements);
  const int32_t least = info[1].ToNumber().Int32Value(), most = info[2].ToNumber().Int32Value();
  return Napi::Number::New(env, static_cast<double>(sc_first_outside(values, static_cast<int64_t>(length), least, most)));
}

// The ops of one backend as an object of functions.
Napi::Object bind(Napi::Env env, const ScBackend* backend, Lane* lane, Napi::Value (*function)(const Napi::CallbackInfo&)) {
  Napi::Object ops = Napi::Object::New(env);
  for (const OpEntry& entry : op_entries())
    ops.Set(entry.name, Napi::Function::New(env, function, entry.name, new BoundOp{&entry, backend, lane}));
  return ops;
}

// What became of cuBLASLt, { used, why }; null without a plug-in that could look for it.
Napi::Value cublaslt_of(Napi::Env env, const ScPlugin* plugin) {
  if (!plugin) return env.Null();
  ScError error = {};
  Napi::Object found = Napi::Object::New(env);
  found.Set("used", plugin->find_cublaslt(&error) == 0);
  found.Set("why", error.text);
  return found;
}

// loadPlugin(path): { status, why, build, cublaslt, devices: [{ name, architecture, memoryBytes, multiprocessors, open() }] };
// open() gives the ops of the device and its memory, { ops, starters, memory }, and is called once in an environment.
Napi::Value load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const LoadedPlugin loaded = load_plugin(info[0].ToString().Utf8Value());
  Napi::Object result = Napi::Object::New(env);
  result.Set("status", loaded.status);
  result.Set("why", loaded.why);
  result.Set("build", loaded.build);
  result.Set("cublaslt", cublaslt_of(env, loaded.plugin));
  Napi::Array devices = Napi::Array::New(env);
  for (const DeviceEntry& entry : loaded.devices) {
    Napi::Object device = Napi::Object::New(env);
    device.Set("name", entry.description.name);
    device.Set("architecture", entry.description.architecture);
    device.Set("memoryBytes", static_cast<double>(entry.description.memory_bytes));
    device.Set("multiprocessors", entry.description.multiprocessors);
    device.Set("open", Napi::Function::New(env, [of = entry.device](const Napi::CallbackInfo& opened) -> Napi::Value {
                 Napi::Object ops = Napi::Object::New(opened.Env());
                 Lane* const lane = open_lane(opened.Env(), of);
                 ops.Set("ops", bind(opened.Env(), of->plugin->ops, lane, call));
                 ops.Set("starters", bind(opened.Env(), of->plugin->ops, lane, start));
                 ops.Set("memory", memory_functions(opened.Env(), lane));
                 return ops;
               }));
    devices.Set(devices.Length(), device);
  }
  result.Set("devices", devices);
  return result;
}

// Keeps the code of the addon where it is: its threads run on when the environment that loaded it has ended.
void stay_loaded() {
  Dl_info here;
  if (dladdr(reinterpret_cast<void*>(&stay_loaded), &here) != 0) dlopen(here.dli_fname, RTLD_LAZY | RTLD_NODELETE);
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  stay_loaded();
  Napi::Object backends = Napi::Object::New(env), starters = Napi::Object::New(env);
  for (const ScBackend* const* backend = sc_cpu_backends(); *backend; ++backend) {
    backends.Set((*backend)->name + strlen("cpu/"), bind(env, *backend, nullptr, call));
    starters.Set((*backend)->name + strlen("cpu/"), bind(env, *backend, nullptr, start));
  }
  exports.Set("backends", backends);
  exports.Set("starters", starters);
  exports.Set("loadPlugin", Napi::Function::New(env, load));
  exports.Set("allocate", Napi::Function::New(env, allocate_tensor));
  exports.Set("tensorBytes", Napi::Function::New(env, tensor_bytes));
  exports.Set("firstOutside", Napi::Function::New(env, first_outside));
  exports.Set("numThreads", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
                return Napi::Number::New(info.Env(), sc_num_threads());
              }));
  exports.Set("setNumThreads", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                sc_set_num_threads(info[0].ToNumber().Int32Value());
              }));
  exports.Set("blasName", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
                const char* name = sc_blas_name();
                return name ? Napi::String::New(info.Env(), name) : info.Env().Null();
              }));
  exports.Set("blasEnabled", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
                return Napi::Boolean::New(info.Env(), sc_blas_enabled());
              }));
  return exports;
}

}  // namespace

NODE_API_MODULE(stepcredit, init)
