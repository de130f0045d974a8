// Memory and streams of others for JavaScript: see src/ops/interop.ts.

#ifndef STEPCREDIT_ADDON_INTEROP_H
#define STEPCREDIT_ADDON_INTEROP_H

#include <napi.h>

#include "device_memory.h"

// Adds to the functions of a device's memory:
//   borrow(target, pointer, bytes, dtype, length)      makes an object stand for memory of a lender; a promise of its going
//   back hold(target): { pointer, byteOffset }              where it is; kept until letGo(target) share(target): { handle,
//   byteOffset }              as hold, for another process, when the calls before have ended open(target, handle, byteOffset,
//   dtype, length)    makes an object stand for memory of another process follow(stream), precede(stream), stream() order with
//   streams of others; the queue's own
void add_interop_functions(Napi::Env env, Lane* lane, Napi::Object functions);

#endif
