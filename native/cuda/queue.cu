#include <stdio.h>

#include "memory.cuh"
#include "queue.cuh"

namespace gpu {

int32_t checked(cudaError_t result, const char* op, const char* what, ScError* error) {
  if (result == cudaSuccess) return 0;
  cudaGetLastError();
  error->code = 1;
  snprintf(error->text, sizeof error->text, "%s: %s: %s (%s)", op, what, cudaGetErrorString(result), cudaGetErrorName(result));
  return 1;
}

int32_t launched(Queue* queue, const char* op, ScError* error) {
  queue->latest_op = op;
  return checked(cudaGetLastError(), op, "launch", error);
}

void* scratch(Queue* queue, size_t bytes, const char* op, ScError* error) {
  if (bytes <= queue->scratch_bytes && !kFreshMemory) return queue->scratch;
  if (checked(cudaStreamSynchronize(queue->stream), op, "work enqueued before", error) != 0) return nullptr;
  release(queue->device, queue->scratch);
  queue->scratch = nullptr;
  queue->scratch_bytes = 0;
  char what[96];
  snprintf(what, sizeof what, "no memory for %zu bytes of scratch space", bytes);
  if (checked(allocate(queue->device, bytes, &queue->scratch), op, what, error) != 0) return nullptr;
  queue->scratch_bytes = bytes;
  return queue->scratch;
}

}  // namespace gpu
