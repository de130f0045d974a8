// How the argument records of ops.h are filled from JavaScript objects: a table of fields per op.

#ifndef STEPCREDIT_ADDON_ARGUMENTS_H
#define STEPCREDIT_ADDON_ARGUMENTS_H

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <vector>

#include "../backend.h"

// kValues: floats of the dtype that another field names.
enum class Kind : uint8_t { kFloats, kInts, kDoubles, kBytes, kValues, kInt64, kInt32, kFloat, kDouble };

constexpr bool is_array(Kind kind) { return kind <= Kind::kValues; }

// A factor of an array's length: (a size of the record, or 1) · times + plus, over `per`, rounded up.
struct Factor {
  int32_t offset;  // of an int64_t in the record; −1: none
  int64_t times;
  int64_t plus;
  int64_t per;
};

struct Field {
  const char* name;  // the property of the JavaScript object
  Kind kind;
  bool optional;  // an absent array is a null pointer; an absent number is an error all the same
  bool written;   // the kernel may write to the array
  uint32_t offset;
  uint32_t dtype_offset;        // of the int32_t that tells the elements of kValues
  const char* shape;            // "T V", "T + 1", …
  std::vector<Factor> factors;  // whose product is the length of the array
};

struct OpEntry {
  const char* name;
  size_t function_offset;  // of the function's pointer in ScBackend
  std::vector<Field> fields;
};

// One row per op of SC_OPS, in its order. Sizes come before the arrays that they shape.
const std::vector<OpEntry>& op_entries();

#endif
