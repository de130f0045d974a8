#include <stdio.h>
#include <string.h>

#include "interop.cuh"
#include "queue.cuh"

namespace gpu {

namespace {

cudaStream_t foreign(uint64_t stream) { return reinterpret_cast<cudaStream_t>(static_cast<uintptr_t>(stream)); }

// What `later` gets from now on begins when what `earlier` has now is done.
cudaError_t order(cudaStream_t earlier, cudaStream_t later) {
  cudaEvent_t event;
  cudaError_t result = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  if (result != cudaSuccess) return result;
  result = cudaEventRecord(event, earlier);
  if (result == cudaSuccess) result = cudaStreamWaitEvent(later, event, 0);
  cudaEventDestroy(event);  // once it has passed, where it has not
  return result;
}

}  // namespace

int32_t queue_after_stream(ScStream stream, uint64_t other, ScError* error) {
  const Queue& queue = queue_of(stream);
  if (checked(cudaSetDevice(queue.device), "CUDA", "following a stream", error) != 0) return 1;
  return checked(order(foreign(other), queue.stream), "CUDA", "following a stream", error);
}

int32_t stream_after_queue(ScStream stream, uint64_t other, ScError* error) {
  const Queue& queue = queue_of(stream);
  if (checked(cudaSetDevice(queue.device), "CUDA", "preceding a stream", error) != 0) return 1;
  return checked(order(queue.stream, foreign(other)), "CUDA", "preceding a stream", error);
}

int32_t stream_of(ScStream stream, uint64_t* own, ScError*) {
  *own = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(queue_of(stream).stream));
  return 0;
}

int32_t device_of(const void* address, int32_t* device, ScError* error) {
  cudaPointerAttributes attributes;
  if (checked(cudaPointerGetAttributes(&attributes, address), "CUDA", "looking for an address", error) != 0) return 1;
  if (attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged) {
    *device = attributes.device;
    return 0;
  }
  error->code = 1;
  snprintf(error->text, sizeof error->text, "%s", "the address is not in the memory of a device");
  return 1;
}

int32_t share(int32_t device, const void* memory, ScShared* shared, ScError* error) {
  static_assert(sizeof(cudaIpcMemHandle_t) == sizeof(ScShared), "a handle fits");
  cudaIpcMemHandle_t handle;
  if (checked(cudaSetDevice(device), "CUDA", "sharing memory", error) != 0 ||
      checked(cudaIpcGetMemHandle(&handle, const_cast<void*>(memory)), "CUDA", "sharing memory", error) != 0)
    return 1;
  memcpy(shared, &handle, sizeof handle);
  return 0;
}

int32_t open_shared(int32_t device, const ScShared* shared, void** memory, ScError* error) {
  *memory = nullptr;
  cudaIpcMemHandle_t handle;
  memcpy(&handle, shared, sizeof handle);
  if (checked(cudaSetDevice(device), "CUDA", "opening shared memory", error) != 0) return 1;
  return checked(cudaIpcOpenMemHandle(memory, handle, cudaIpcMemLazyEnablePeerAccess), "CUDA", "opening shared memory", error);
}

int32_t close_shared(int32_t device, void* memory, ScError* error) {
  if (checked(cudaSetDevice(device), "CUDA", "closing shared memory", error) != 0) return 1;
  return checked(cudaIpcCloseMemHandle(memory), "CUDA", "closing shared memory", error);
}

}  // namespace gpu
