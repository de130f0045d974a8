#include "cuda_runtime.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <mutex>

namespace {

thread_local cudaError_t last = cudaSuccess;

cudaError_t kept(cudaError_t error) {
  if (error != cudaSuccess) last = error;
  return error;
}

struct Mapping {
  void* start;
  size_t mapped;
  size_t bytes;
};
std::mutex mutex;
std::map<void*, Mapping> mappings;

thread_local int current = 0;

int devices() {
  const char* const given = getenv("STEPCREDIT_SIMT_DEVICES");
  return given ? atoi(given) : 1;
}

size_t device_bytes() {
  const char* const given = getenv("STEPCREDIT_SIMT_MEMORY");
  return given ? strtoull(given, nullptr, 10) : size_t{8} << 30;
}
size_t used = 0;

size_t most_shared_bytes() {
  const char* const given = getenv("STEPCREDIT_SIMT_SHARED");
  return given ? strtoull(given, nullptr, 10) : size_t{227} << 10;
}
constexpr size_t kUnaskedSharedBytes = 48 << 10;
std::map<const void*, size_t> asked_shared_bytes;  // by kernel

constexpr size_t kAlignment = 256;

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaSuccess                 ? "cudaSuccess"
         : error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation"
         : error == cudaErrorNoDevice         ? "cudaErrorNoDevice"
         : error == cudaErrorInvalidDevice    ? "cudaErrorInvalidDevice"
         : error == cudaErrorIllegalAddress   ? "cudaErrorIllegalAddress"
                                              : "cudaErrorInvalidValue";
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess                 ? "no error"
         : error == cudaErrorMemoryAllocation ? "out of memory"
         : error == cudaErrorNoDevice         ? "no CUDA-capable device is detected"
         : error == cudaErrorInvalidDevice    ? "invalid device ordinal"
         : error == cudaErrorIllegalAddress   ? "an illegal memory access was encountered"
                                              : "invalid argument";
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = last;
  last = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() { return last; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = devices();
  return kept(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaGetDevice(int* device) {
  *device = current;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= devices()) return kept(cudaErrorInvalidDevice);
  current = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= devices()) return kept(cudaErrorInvalidDevice);
  *properties = {"device code on the host", 0, 0, 4, device_bytes(), most_shared_bytes(), 1 << 20};
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::lock_guard<std::mutex> lock(mutex);
  *total = device_bytes();
  *free = *total - used;
  return cudaSuccess;
}

// The range ends at a page that may not be touched, less what alignment asks; the bytes between are not watched.
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  const std::lock_guard<std::mutex> lock(mutex);
  if (bytes > device_bytes() - used) return kept(cudaErrorMemoryAllocation);
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const size_t mapped = (rounded + page - 1) / page * page;
  char* const start =
      static_cast<char*>(mmap(nullptr, mapped + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (start == MAP_FAILED) return kept(cudaErrorMemoryAllocation);
  mprotect(start + mapped, page, PROT_NONE);
  *memory = start + mapped - rounded;
  memset(*memory, 0xff, rounded);
  mappings[*memory] = {start, mapped + page, bytes};
  used += bytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  if (!memory) return cudaSuccess;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = mappings.find(memory);
  if (found == mappings.end()) return kept(cudaErrorInvalidValue);
  munmap(found->second.start, found->second.mapped);
  used -= found->second.bytes;
  mappings.erase(found);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  *memory = malloc(bytes);
  return *memory ? cudaSuccess : kept(cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void* memory) {
  free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  if (bytes > 0) memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int byte, size_t bytes, cudaStream_t) {
  if (bytes > 0) memset(memory, byte, bytes);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return kept(getenv("STEPCREDIT_SIMT_FAILURE") ? cudaErrorIllegalAddress : cudaSuccess);
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<size_t>(value) > most_shared_bytes()) return kept(cudaErrorInvalidValue);
  const std::lock_guard<std::mutex> lock(mutex);
  asked_shared_bytes[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

bool host_grants_shared(const void* kernel, size_t bytes) {
  if (bytes <= kUnaskedSharedBytes) return true;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = asked_shared_bytes.find(kernel);
  const bool enough = found != asked_shared_bytes.end() && bytes <= found->second;
  if (!enough) kept(cudaErrorInvalidValue);
  return enough;
}
