// A queue of work on a device, which every op takes as its ScStream: the device, its stream and scratch memory. Work of one
// queue runs in order, so scratch memory is free again for the op that comes next.

#ifndef STEPCREDIT_CUDA_QUEUE_CUH
#define STEPCREDIT_CUDA_QUEUE_CUH

#include <cuda_runtime.h>

#include "../backend.h"

namespace gpu {

struct Staging;  // staging.cu

struct Queue {
  int device;
  int multiprocessors;
  size_t shared_bytes;  // that a block may have, if its kernel has asked
  cudaStream_t stream;
  void* scratch;
  size_t scratch_bytes;
  const char* latest_op;  // enqueued last: where an error that comes later is said to come from
  Staging* staging;       // null before the first copy from or to the host
};

inline Queue& queue_of(ScStream stream) { return *static_cast<Queue*>(stream); }

// Writes "op: what: CUDA's name and text of the error" and returns 1; 0 where there is none.
int32_t checked(cudaError_t result, const char* op, const char* what, ScError* error);

// Of the launches of an op: 0, or 1 with the reason in `error`. To be called once at the end of an op.
int32_t launched(Queue* queue, const char* op, ScError* error);

// Scratch memory of the queue, aligned to 256 bytes, with what it held before; null with the reason in `error` where the
// device has no memory left. An op calls it once.
void* scratch(Queue* queue, size_t bytes, const char* op, ScError* error);

}  // namespace gpu

#endif
