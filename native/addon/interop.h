// Memory, streams and events of others for JavaScript: see src/ops/interop.ts.

#ifndef STEPCREDIT_ADDON_INTEROP_H
#define STEPCREDIT_ADDON_INTEROP_H

#include <napi.h>

#include "device_memory.h"

// Adds to the functions of a device's memory: borrow(target, pointer, bytes, dtype, length) makes an object stand for memory of
// a lender, and gives a promise of its going back; hold(target) gives { pointer, byteOffset } and keeps the memory until
// letGo(target); share(target) gives { handle, byteOffset } for another process once the calls before have ended, and keeps the
// memory likewise; open(target, handle, byteOffset, dtype, length) makes an object stand for memory of another process;
// follow(stream), precede(stream) and stream() are the order with streams of others, and the queue's own. makeEvent() gives
// { event, handle }, openEvent(handle) an event of another process, for closeEvent(event), recordEvent(event) and
// waitForEvent(event).
void add_interop_functions(Napi::Env env, Lane* lane, Napi::Object functions);

#endif
