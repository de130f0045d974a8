// cuBLASLt, opened at run time, so that neither building nor running needs it. Products in full f32: no TF32.

#ifndef STEPCREDIT_CUDA_CUBLASLT_CUH
#define STEPCREDIT_CUDA_CUBLASLT_CUH

#include "matmul.cuh"

namespace gpu {

// Scratch memory that it may use: 0 where it is not there.
size_t cublaslt_bytes();

// Enqueues a product by cuBLASLt; false where it is not there or has no algorithm for this product, and nothing was enqueued.
// After a failure that is not of the product it counts as not there for good. `memory`: cublaslt_bytes.
bool cublaslt_multiply(Queue& queue, const Product& product, void* memory);

// Why products do not go to cuBLASLt; null where they do.
const char* cublaslt_absence();

}  // namespace gpu

#endif
