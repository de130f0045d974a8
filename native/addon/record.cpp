#include "record.h"

#include <cstring>
#include <string>

#include "staging.h"

namespace {

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

// The bytes of an array of `length` elements.
size_t bytes_of(napi_typedarray_type type, size_t length) {
  switch (type) {
    case napi_float64_array:
      return length * 8;
    case napi_uint16_array:
      return length * 2;
    case napi_uint8_array:
      return length;
    default:
      return length * 4;
  }
}

// Whether an array of `length` elements is one too long or too short for its field.
void check_length(Napi::Env env, const OpEntry& op, const Field& field, const char* record, size_t length) {
  const int64_t needed = length_of(field, record);
  if (needed < 0 || length != static_cast<size_t>(needed))
    throw wrong(
        env, op, field,
        "[" + std::string(field.shape) + "], " + std::to_string(needed) + " elements and not " + std::to_string(length));
}

// Memory of a device, if it is that of the op.
void* device_elements(Napi::Env env, const BoundOp& bound, const Field& field, const DeviceView& view, char* record,
                      RecordArrays* arrays) {
  const OpEntry& op = *bound.entry;
  if (!bound.lane) throw wrong(env, op, field, "an array of the host, not one of a device");
  if (view.memory->lane != bound.lane) throw wrong(env, op, field, "an array of the device of the op, not one of another");
  if (view.memory->is_disposed()) throw wrong(env, op, field, "an array that has not been disposed of");
  int32_t dtype = kF32;
  if (field.kind == Kind::kValues) memcpy(&dtype, record + field.dtype_offset, sizeof dtype);
  if ((field.kind != Kind::kValues && field.kind != Kind::kFloats) || view.dtype != dtype)
    throw wrong(env, op, field, "an array of the type that the op takes");
  check_length(env, op, field, record, view.length);
  arrays->of_device.push_back(view.memory);
  return view.elements();
}

void fill_array(Napi::Env env, const BoundOp& bound, const Field& field, const Napi::Value& value, char* record,
                RecordArrays* arrays) {
  const OpEntry& op = *bound.entry;
  void* elements = nullptr;
  if (value.IsUndefined() || value.IsNull()) {
    if (!field.optional) throw wrong(env, op, field, "an array");
  } else if (const DeviceView* view = value.IsTypedArray() ? nullptr : device_view_of(env, value)) {
    elements = device_elements(env, bound, field, *view, record, arrays);
  } else {
    napi_typedarray_type type;
    size_t length;
    napi_value buffer = nullptr;
    if (!value.IsTypedArray() ||
        napi_get_typedarray_info(env, value, &type, &length, &elements, arrays ? &buffer : nullptr, nullptr) != napi_ok)
      throw wrong(env, op, field, "an array");
    if (const char* expected = wrong_element(field, record, type)) throw wrong(env, op, field, expected);
    check_length(env, op, field, record, length);
    if (arrays) arrays->of_host.push_back({&field, value, buffer, elements, length, bytes_of(type, length)});
  }
  memcpy(record + field.offset, &elements, sizeof elements);
}

template <class Number>
void put(char* to, double number) {
  const Number converted = static_cast<Number>(number);
  memcpy(to, &converted, sizeof converted);
}

void fill(Napi::Env env, const BoundOp& bound, const Field& field, const Napi::Value& value, char* record,
          RecordArrays* arrays) {
  if (is_array(field.kind)) return fill_array(env, bound, field, value, record, arrays);
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) throw wrong(env, *bound.entry, field, "a number");
  char* const to = record + field.offset;
  if (field.kind == Kind::kInt64) return put<int64_t>(to, number);
  if (field.kind == Kind::kInt32) return put<int32_t>(to, number);
  if (field.kind == Kind::kFloat) return put<float>(to, number);
  put<double>(to, number);
}

}  // namespace

void fill_record(Napi::Env env, const BoundOp& bound, const Napi::Object& arguments, Record* record, RecordArrays* arrays) {
  for (const Field& field : bound.entry->fields) fill(env, bound, field, arguments.Get(field.name), record->bytes, arrays);
}

int32_t call_op(const BoundOp& bound, const Record& record, ScStream queue, ScError* error) {
  int32_t (*function)(const void*, ScStream, ScError*);
  memcpy(&function, reinterpret_cast<const char*>(bound.backend) + bound.entry->function_offset, sizeof function);
  return function(record.bytes, queue, error);
}

int32_t run_op(const BoundOp& bound, const Record& record, const std::vector<Extent>& of_host, ScError* error) {
  return bound.lane ? run_staged(bound, record, of_host, error) : call_op(bound, record, nullptr, error);
}

std::string failure(const std::string& name, const BoundOp& bound, const ScError& error) {
  std::string text = error.text[0] ? error.text : "failed";
  const std::string own = std::string(bound.entry->name) + ": ";
  if (text.compare(0, own.size(), own) == 0) text.erase(0, own.size());
  return name + ": " + text;
}
