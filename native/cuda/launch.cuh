// A kernel and where it runs. The same sources are compiled by nvcc for devices, and by a C++ compiler for the host (host/),
// where tests run them on machines without a device.

#ifndef STEPCREDIT_CUDA_LAUNCH_CUH
#define STEPCREDIT_CUDA_LAUNCH_CUH

#include <cuda_runtime.h>
#include <stdint.h>

namespace gpu {

struct Shape {
  dim3 blocks;
  dim3 threads;
  size_t shared_bytes = 0;
};

#if defined(__CUDACC__)

template <class... Parameters, class... Arguments>
inline void launch(void (*kernel)(Parameters...), const Shape& shape, cudaStream_t stream, Arguments... arguments) {
  kernel<<<shape.blocks, shape.threads, shape.shared_bytes, stream>>>(static_cast<Parameters>(arguments)...);
}

// The dynamic shared memory of a block, aligned to 16 bytes.
template <class Element>
__device__ inline Element* dynamic_shared() {
  extern __shared__ uint4 sc_shared[];
  return reinterpret_cast<Element*>(sc_shared);
}

#else

template <class... Parameters, class... Arguments>
inline void launch(void (*kernel)(Parameters...), const Shape& shape, cudaStream_t stream, Arguments... arguments) {
  if (!host_grants_launch(reinterpret_cast<const void*>(kernel), shape.shared_bytes, stream)) return;
  simt::run(shape.blocks, shape.threads, shape.shared_bytes, [&] { kernel(static_cast<Parameters>(arguments)...); });
}

template <class Element>
inline Element* dynamic_shared() {
  return static_cast<Element*>(simt::dynamic_shared());
}

#endif

// Lets a kernel have more dynamic shared memory than the 48 KiB that it may have unasked. What cannot be had fails at launch.
// Always the same of a kernel on a device, and at least what it is launched with: the last who asked decides, and another
// thread may be about to launch it.
template <class... Parameters>
inline void ask_for_shared(void (*kernel)(Parameters...), size_t bytes) {
  const void* const function = reinterpret_cast<const void*>(kernel);
  cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
}

}  // namespace gpu

#endif
