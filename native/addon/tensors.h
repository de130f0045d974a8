// What tensors (src/ops/tensor.ts) ask of the addon.

#ifndef STEPCREDIT_ADDON_TENSORS_H
#define STEPCREDIT_ADDON_TENSORS_H

#include <napi.h>

// allocate(bytes): { buffer, release(buffer) }, an ArrayBuffer on zeroed memory of the library's own, aligned to 64 bytes; null
// where the engine allows no such buffers. `release` detaches the buffer, so that its views have length 0; a buffer that was
// detached before stays as it is. The memory is freed when the buffer is released or collected and no running call uses it.
// Throws a RangeError where there is no memory.
Napi::Value allocate_tensor(const Napi::CallbackInfo& info);

// tensorBytes(): bytes of such memory that are not freed yet, of all threads of the process.
Napi::Value tensor_bytes(const Napi::CallbackInfo& info);

#endif
