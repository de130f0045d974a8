// Products C [M, N] (+)= A' · B of A in f32 and B in a half type on tensor cores, to the accuracy of f32: see split_mma.cuh.
//
// Order      32 terms at a time on the cores, from 0; the sums of those in order, in f32, added to C as one number. A row's
//            bits depend on that row alone.

#ifndef STEPCREDIT_CUDA_SPLIT_PRODUCTS_CUH
#define STEPCREDIT_CUDA_SPLIT_PRODUCTS_CUH

#include "matmul.cuh"

namespace gpu {

// A and B begin at multiples of 16 bytes, and so do their rows; N is a multiple of 8. Of kPlain, A is 0 from K to the next
// multiple of 4; of kOverRows it may be read as far beyond M. No bias, and not kOverColumns.
void multiply_split(Queue& queue, const Product& product);

}  // namespace gpu

#endif
