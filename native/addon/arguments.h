// How the argument records of ops.h are filled from JavaScript objects: a table of fields per op.

#ifndef STEPCREDIT_ADDON_ARGUMENTS_H
#define STEPCREDIT_ADDON_ARGUMENTS_H

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "../backend.h"

enum class Kind : uint8_t { kFloats, kInts, kDoubles, kInt64, kInt32, kFloat, kDouble };

struct Field {
  const char* name;  // the property of the JavaScript object
  Kind kind;
  bool optional;  // an absent array is a null pointer; an absent number is an error all the same
  uint32_t offset;
};

struct OpEntry {
  const char* name;
  size_t record_bytes;
  size_t function_offset;  // of the function's pointer in ScBackend
  std::vector<Field> fields;
};

// One row per op of SC_OPS, in its order.
const std::vector<OpEntry>& op_entries();

#endif
