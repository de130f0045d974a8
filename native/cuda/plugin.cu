// What the addon loads: devices, queues and memory, and the table of ops.

#include <stdio.h>
#include <string.h>

#include <new>

#include "convert.cuh"
#include "cublaslt.cuh"
#include "interop.cuh"
#include "memory.cuh"
#include "queue.cuh"
#include "staging.cuh"
#include "table.cuh"

namespace gpu {

namespace {

#define SC_TEXT_OF(name) #name
#define SC_TEXT(name) SC_TEXT_OF(name)
#if !defined(__CUDACC__)
constexpr const char* kBuild = "device code on the host, for tests";
#elif defined(SC_ARCHITECTURES)
constexpr const char* kBuild = "CUDA " SC_TEXT(__CUDACC_VER_MAJOR__) "." SC_TEXT(__CUDACC_VER_MINOR__) ", " SC_ARCHITECTURES;
#else
constexpr const char* kBuild = "CUDA " SC_TEXT(__CUDACC_VER_MAJOR__) "." SC_TEXT(__CUDACC_VER_MINOR__);
#endif

int32_t count_devices(int32_t* devices, ScError* error) {
  *devices = 0;
  int count = 0;
  if (checked(cudaGetDeviceCount(&count), "CUDA", "no device", error) != 0) return 1;
  *devices = count;
  return 0;
}

int32_t describe_device(int32_t device, ScDevice* description, ScError* error) {
  cudaDeviceProp properties;
  if (checked(cudaGetDeviceProperties(&properties, device), "CUDA", "describing the device", error) != 0) return 1;
  *description = {};
  snprintf(description->name, sizeof description->name, "%.127s", properties.name);
  snprintf(description->architecture, sizeof description->architecture, "sm_%d%d", properties.major, properties.minor);
  description->memory_bytes = properties.totalGlobalMem;
  description->multiprocessors = properties.multiProcessorCount;
  return 0;
}

int32_t open_queue(int32_t device, ScStream* stream, ScError* error) {
  *stream = nullptr;
  cudaDeviceProp properties;
  Queue opened = {device, 0, 0, nullptr, nullptr, 0, nullptr, nullptr};
  if (checked(cudaSetDevice(device), "CUDA", "opening the device", error) != 0 ||
      checked(cudaGetDeviceProperties(&properties, device), "CUDA", "describing the device", error) != 0 ||
      checked(cudaStreamCreateWithFlags(&opened.stream, cudaStreamNonBlocking), "CUDA", "opening a queue", error) != 0)
    return 1;
  opened.multiprocessors = properties.multiProcessorCount;
  opened.shared_bytes = properties.sharedMemPerBlockOptin;
  Queue* const queue = new (std::nothrow) Queue(opened);
  if (!queue) {
    cudaStreamDestroy(opened.stream);
    return checked(cudaErrorMemoryAllocation, "CUDA", "opening a queue", error);
  }
  *stream = queue;
  return 0;
}

// Makes the device of a queue that of the calling thread, which launches and streams ask for.
bool enter(const Queue& queue, const char* what, ScError* error) {
  return checked(cudaSetDevice(queue.device), "CUDA", what, error) == 0;
}

// An error that comes with a wait or a copy is of work that was enqueued before, and the runtime does not say of which.
int32_t arrived(const Queue& queue, cudaError_t result, const char* place, ScError* error) {
  if (result == cudaSuccess) return 0;
  char what[96];
  snprintf(what, sizeof what, "failed on device %d by the time of %s; enqueued last", queue.device, place);
  return checked(result, queue.latest_op ? queue.latest_op : "no op", what, error);
}

int32_t close_queue(ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (!enter(queue, "closing a queue", error)) return 1;
  const cudaError_t waited = cudaStreamSynchronize(queue.stream);
  const int32_t code = arrived(queue, waited, "closing its queue", error);
  finish_staged(&queue, waited);
  close_staging(&queue);
  release(queue.device, queue.scratch);
  cudaStreamDestroy(queue.stream);
  delete &queue;
  return code;
}

int32_t allocate_memory(int32_t device, size_t bytes, void** memory, ScError* error) {
  char what[96];
  snprintf(what, sizeof what, "no memory for %zu bytes on device %d", bytes, device);
  return checked(allocate(device, bytes, memory), "CUDA", what, error);
}

int32_t release_memory(int32_t device, void* memory, ScError*) {
  release(device, memory);
  return 0;
}

int32_t upload(ScStream stream, void* to, const void* from, size_t bytes, ScError* error) {
  Queue& queue = queue_of(stream);
  if (bytes == 0) return 0;
  if (!enter(queue, "a copy to the device", error)) return 1;
  return arrived(queue, staged_upload(&queue, to, from, bytes), "a copy to the device", error);
}

int32_t download(ScStream stream, void* to, const void* from, size_t bytes, ScError* error) {
  Queue& queue = queue_of(stream);
  if (bytes == 0) return 0;
  if (!enter(queue, "a copy from the device", error)) return 1;
  return arrived(queue, staged_download(&queue, to, from, bytes), "a copy from the device", error);
}

int32_t clear(ScStream stream, void* memory, size_t bytes, ScError* error) {
  Queue& queue = queue_of(stream);
  if (bytes == 0) return 0;
  if (!enter(queue, "clearing memory", error)) return 1;
  return arrived(queue, cudaMemsetAsync(memory, 0, bytes, queue.stream), "clearing memory", error);
}

int32_t copy(ScStream stream, void* to, const void* from, size_t bytes, ScError* error) {
  Queue& queue = queue_of(stream);
  if (bytes == 0) return 0;
  if (!enter(queue, "a copy on the device", error)) return 1;
  return arrived(queue, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, queue.stream), "a copy on the device",
                 error);
}

int32_t wait(ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (!enter(queue, "a wait", error)) return 1;
  const cudaError_t waited = cudaStreamSynchronize(queue.stream);
  finish_staged(&queue, waited);
  return arrived(queue, waited, "a wait", error);
}

int32_t find_cublaslt(ScError* error) {
  const char* const absence = cublaslt_absence();
  if (!absence) return 0;
  error->code = 1;
  snprintf(error->text, sizeof error->text, "%s", absence);
  return 1;
}

}  // namespace

}  // namespace gpu

extern "C" __attribute__((visibility("default"))) const ScPlugin* stepcredit_plugin() {
  static const ScPlugin plugin = {kScAbiVersion,
                                  sizeof(ScPlugin),
                                  gpu::kBuild,
                                  &gpu::backend(),
                                  gpu::count_devices,
                                  gpu::describe_device,
                                  gpu::open_queue,
                                  gpu::close_queue,
                                  gpu::allocate_memory,
                                  gpu::release_memory,
                                  gpu::upload,
                                  gpu::download,
                                  gpu::clear,
                                  gpu::copy,
                                  gpu::convert,
                                  gpu::wait,
                                  gpu::find_cublaslt,
                                  gpu::queue_after_stream,
                                  gpu::stream_after_queue,
                                  gpu::stream_of,
                                  gpu::device_of,
                                  gpu::share,
                                  gpu::open_shared,
                                  gpu::close_shared,
                                  gpu::make_event,
                                  gpu::open_event,
                                  gpu::close_event,
                                  gpu::record_event,
                                  gpu::queue_after_event};
  return &plugin;
}
