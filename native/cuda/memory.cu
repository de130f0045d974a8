#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "memory.cuh"

namespace gpu {

namespace {

constexpr size_t kAlignment = 256;
// From here on sizes are rounded up to eighths of a power of two, so that shapes that differ by little share memory.
constexpr size_t kCoarse = size_t{1} << 20;

size_t rounded(size_t bytes) {
  size_t step = kAlignment;
  if (!kFreshMemory && bytes > kCoarse)
    while (step * 16 < bytes) step *= 2;
  return bytes == 0 ? kAlignment : (bytes + step - 1) / step * step;
}

struct DeviceMemory {
  std::multimap<size_t, void*> kept;
  std::unordered_map<void*, size_t> given;
};

struct AllMemory {
  std::mutex mutex;
  std::map<int, DeviceMemory> of;
};

// Never destroyed: memory may be released while the process ends.
AllMemory& all_memory() {
  static AllMemory* const instance = new AllMemory;
  return *instance;
}

void give_back(DeviceMemory& memory) {
  for (const auto& block : memory.kept) cudaFree(block.second);
  memory.kept.clear();
}

}  // namespace

cudaError_t allocate(int device, size_t bytes, void** memory) {
  const size_t size = rounded(bytes);
  AllMemory& all = all_memory();
  const std::lock_guard<std::mutex> lock(all.mutex);
  DeviceMemory& here = all.of[device];
  const auto kept = here.kept.find(size);
  if (kept != here.kept.end()) {
    *memory = kept->second;
    here.kept.erase(kept);
  } else {
    *memory = nullptr;
    if (const cudaError_t failed = cudaSetDevice(device)) return failed;
    cudaError_t result = cudaMalloc(memory, size);
    if (result == cudaErrorMemoryAllocation && !here.kept.empty()) {
      cudaGetLastError();
      give_back(here);
      result = cudaMalloc(memory, size);
    }
    if (result != cudaSuccess) return result;
  }
  here.given[*memory] = size;
  if (kFreshMemory) return cudaMemsetAsync(*memory, 0xff, size, nullptr);
  return cudaSuccess;
}

void release(int device, void* memory) {
  if (!memory) return;
  AllMemory& all = all_memory();
  const std::lock_guard<std::mutex> lock(all.mutex);
  DeviceMemory& here = all.of[device];
  const auto given = here.given.find(memory);
  if (given == here.given.end()) return;
  here.kept.emplace(given->second, memory);
  here.given.erase(given);
}

}  // namespace gpu
