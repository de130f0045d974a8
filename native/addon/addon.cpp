// The addon: names to functions. Fills argument records from JavaScript objects, calls the backend, turns failures into
// JavaScript errors, and nothing else. Arguments were checked in TypeScript (src/ops/check.ts), which words the errors that
// users see; here once more what would corrupt memory: that every array has the element and the length that the kernel counts
// on.

#include <napi.h>

#include <cstring>
#include <string>

#include "../cpu/blas.h"
#include "../cpu/dispatch.h"
#include "../cpu/pool.h"
#include "arguments.h"

namespace {

struct BoundOp {
  const OpEntry* entry;
  const ScBackend* backend;
};

// What a field takes in this record, in words; null where the type of the array is right.
const char* wrong_element(const Field& field, const char* record, napi_typedarray_type type) {
  Kind kind = field.kind;
  if (kind == Kind::kValues) {
    int32_t dtype;
    memcpy(&dtype, record + field.dtype_offset, sizeof dtype);
    if (dtype != kF32) return type == napi_uint16_array ? nullptr : "a Uint16Array";
    kind = Kind::kFloats;
  }
  switch (kind) {
    case Kind::kFloats:
      return type == napi_float32_array ? nullptr : "a Float32Array";
    case Kind::kInts:
      return type == napi_int32_array ? nullptr : "an Int32Array";
    case Kind::kDoubles:
      return type == napi_float64_array ? nullptr : "a Float64Array";
    default:
      return type == napi_uint8_array ? nullptr : "a Uint8Array";
  }
}

Napi::Error wrong(Napi::Env env, const OpEntry& op, const Field& field, const std::string& expected) {
  return Napi::TypeError::New(env, std::string(op.name) + ": expected " + field.name + " to be " + expected);
}

// The length that the sizes in the record ask of an array; −1 where it does not fit into 64 bits.
int64_t length_of(const Field& field, const char* record) {
  int64_t length = 1;
  for (const Factor& factor : field.factors) {
    int64_t size = 1;
    if (factor.offset >= 0) memcpy(&size, record + factor.offset, sizeof size);
    size = (size * factor.times + factor.plus + factor.per - 1) / factor.per;
    if (size < 0 || __builtin_mul_overflow(length, size, &length)) return -1;
  }
  return length;
}

void fill_array(Napi::Env env, const OpEntry& op, const Field& field, const Napi::Value& value, char* record) {
  void* elements = nullptr;
  if (value.IsUndefined() || value.IsNull()) {
    if (!field.optional) throw wrong(env, op, field, "an array");
  } else {
    napi_typedarray_type type;
    size_t length;
    if (!value.IsTypedArray() || napi_get_typedarray_info(env, value, &type, &length, &elements, nullptr, nullptr) != napi_ok)
      throw wrong(env, op, field, "an array");
    if (const char* expected = wrong_element(field, record, type)) throw wrong(env, op, field, expected);
    const int64_t needed = length_of(field, record);
    if (needed < 0 || length != static_cast<size_t>(needed))
      throw wrong(
          env, op, field,
          "[" + std::string(field.shape) + "], " + std::to_string(needed) + " elements and not " + std::to_string(length));
  }
  memcpy(record + field.offset, &elements, sizeof elements);
}

template <class Number>
void put(char* to, double number) {
  const Number converted = static_cast<Number>(number);
  memcpy(to, &converted, sizeof converted);
}

void fill(Napi::Env env, const OpEntry& op, const Field& field, const Napi::Value& value, char* record) {
  if (is_array(field.kind)) return fill_array(env, op, field, value, record);
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) throw wrong(env, op, field, "a number");
  char* const to = record + field.offset;
  if (field.kind == Kind::kInt64) return put<int64_t>(to, number);
  if (field.kind == Kind::kInt32) return put<int32_t>(to, number);
  if (field.kind == Kind::kFloat) return put<float>(to, number);
  put<double>(to, number);
}

Napi::Value call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const BoundOp& bound = *static_cast<const BoundOp*>(info.Data());
  const OpEntry& op = *bound.entry;
  if (info.Length() < 1 || !info[0].IsObject())
    throw Napi::TypeError::New(env, std::string(op.name) + ": expected an object of arguments");
  alignas(16) char record[512] = {};
  static_assert(sizeof(PolicyUpdateArgs) <= sizeof record, "the largest record fits");
  const Napi::Object arguments = info[0].As<Napi::Object>();
  for (const Field& field : op.fields) fill(env, op, field, arguments.Get(field.name), record);

  int32_t (*function)(const void*, ScStream, ScError*);
  memcpy(&function, reinterpret_cast<const char*>(bound.backend) + op.function_offset, sizeof function);
  ScError error = {};
  if (function(record, nullptr, &error) != 0)
    throw Napi::Error::New(env, std::string(op.name) + ": " + (error.text[0] ? error.text : "failed"));
  return env.Undefined();
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
  // Blocks without a branch inside, so that they are compared in vectors.
  constexpr size_t kBlock = 1024;
  for (size_t begin = 0; begin < length; begin += kBlock) {
    const size_t end = begin + kBlock < length ? begin + kBlock : length;
    int32_t outside = 0;
    for (size_t i = begin; i < end; ++i) outside |= (values[i] < least) | (values[i] > most);
    if (outside == 0) continue;
    for (size_t i = begin; i < end; ++i)
      if (values[i] < least || values[i] > most) return Napi::Number::New(env, static_cast<double>(i));
  }
  return Napi::Number::New(env, -1);
}

// The ops of one backend as an object of functions.
Napi::Object bind(Napi::Env env, const ScBackend* backend) {
  Napi::Object ops = Napi::Object::New(env);
  for (const OpEntry& entry : op_entries()) {
    // Lives as long as the process, like the table it points to: a worker's environment may end while another's runs.
    auto* bound = new BoundOp{&entry, backend};
    ops.Set(entry.name, Napi::Function::New(env, call, entry.name, bound));
  }
  return ops;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  Napi::Object backends = Napi::Object::New(env);
  for (const ScBackend* const* backend = sc_cpu_backends(); *backend; ++backend)
    backends.Set((*backend)->name + strlen("cpu/"), bind(env, *backend));
  exports.Set("backends", backends);
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
