// Promise calls: an op runs on the library's threads while JavaScript goes on.
//
// What the kernel reads and writes stays valid until it has ended, whatever JavaScript does meanwhile:
//   memory of the library (tensors)     used in place; the call keeps the block
//   shared memory                       used in place; the call keeps the array
//   arrays that were made for the call  used in place; nobody else has them before the call settles
//   other arrays                        copied when the call starts; what was written is copied back when it settles
// Arrays that overlap in memory overlap in their copies too.

#ifndef STEPCREDIT_ADDON_PROMISES_H
#define STEPCREDIT_ADDON_PROMISES_H

#include <napi.h>

#include <string>

#include "record.h"

// Starts a call: { settled, cancel() }. `settled` is a promise of nothing; it is rejected where the op fails, where it was
// cancelled, and with a RangeError that begins with `name` where a given array that the op wrote is shorter than it was.
// `given` holds the arrays that the caller passed; other arrays of `arguments` were made for the call.
Napi::Value start_call(Napi::Env env, const BoundOp& bound, const Napi::Object& arguments, const std::string& name,
                       const Napi::Array& given);

#endif
