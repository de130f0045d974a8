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

int32_t make_event(int32_t device, void** event, ScShared* shared, ScError* error) {
  static_assert(sizeof(cudaIpcEventHandle_t) == sizeof(ScShared), "a handle fits");
  *event = nullptr;
  cudaEvent_t made;
  cudaIpcEventHandle_t handle;
  if (checked(cudaSetDevice(device), "CUDA", "making an event", error) != 0 ||
      checked(cudaEventCreateWithFlags(&made, cudaEventInterprocess | cudaEventDisableTiming), "CUDA", "making an event",
              error) != 0)
    return 1;
  if (checked(cudaIpcGetEventHandle(&handle, made), "CUDA", "sharing an event", error) != 0) {
    cudaEventDestroy(made);
    return 1;
  }
  memcpy(shared, &handle, sizeof handle);
  *event = made;
  return 0;
}

int32_t open_event(int32_t device, const ScShared* shared, void** event, ScError* error) {
  *event = nullptr;
  cudaEvent_t opened;
  cudaIpcEventHandle_t handle;
  memcpy(&handle, shared, sizeof handle);
  if (checked(cudaSetDevice(device), "CUDA", "opening an event", error) != 0 ||
      checked(cudaIpcOpenEventHandle(&opened, handle), "CUDA", "opening an event", error) != 0)
    return 1;
  *event = opened;
  return 0;
}

int32_t close_event(int32_t device, void* event, ScError* error) {
  if (checked(cudaSetDevice(device), "CUDA", "closing an event", error) != 0) return 1;
  return checked(cudaEventDestroy(static_cast<cudaEvent_t>(event)), "CUDA", "closing an event", error);
}

int32_t record_event(ScStream stream, void* event, ScError* error) {
  const Queue& queue = queue_of(stream);
  if (checked(cudaSetDevice(queue.device), "CUDA", "recording an event", error) != 0) return 1;
  return checked(cudaEventRecord(static_cast<cudaEvent_t>(event), queue.stream), "CUDA", "recording an event", error);
}

int32_t queue_after_event(ScStream stream, void* event, ScError* error) {
  const Queue& queue = queue_of(stream);
  if (checked(cudaSetDevice(queue.device), "CUDA", "waiting for an event", error) != 0) return 1;
  return checked(cudaStreamWaitEvent(queue.stream, static_cast<cudaEvent_t>(event), 0), "CUDA", "waiting for an event", error);
}

}  // namespace gpu
