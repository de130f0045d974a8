// Memory of devices. What is released is kept for the next call that asks for as much, because cudaMalloc and cudaFree wait
// for the device; a device that has none left gets all of it back before an allocation fails.

#ifndef STEPCREDIT_CUDA_MEMORY_CUH
#define STEPCREDIT_CUDA_MEMORY_CUH

#include <cuda_runtime.h>
#include <stddef.h>

namespace gpu {

// On the host memory is given out as if it were new: filled with NaNs, up to the page that may not be touched.
#if defined(__CUDACC__)
constexpr bool kFreshMemory = false;
#else
constexpr bool kFreshMemory = true;
#endif

// Aligned to 256 bytes, never null where it succeeds.
cudaError_t allocate(int device, size_t bytes, void** memory);

// No queue may use the memory any more. Null is nothing.
void release(int device, void* memory);

}  // namespace gpu

#endif
