// Products C [M, N] (+)= A' · B of A in f32 and B in a half type on tensor cores, to the accuracy of f32: see split_mma.cuh.
//
// Order      32 terms at a time on the cores, from 0; the sums of those in order, in f32, added to C as one number. A row's
//            bits depend on that row alone.

#ifndef STEPCREDIT_CUDA_SPLIT_PRODUCTS_CUH
#define STEPCREDIT_CUDA_SPLIT_PRODUCTS_CUH

#include "matmul.cuh"

namespace gpu {

// Whether a product with a weight goes this way: A [M, K] lies in vectors of 16 bytes, and so does B, and C need not be
// portable. That its bits do not depend on M is why few rows go the same way.
bool takes_split(const Product& product);

// A and B begin at multiples of 16 bytes, and so do their rows; where the rows of a term of B lie side by side, N is a multiple
// of 8, else K is. Of kPlain, A is 0 from K to the next multiple of 4; of kOverRows it may be read as far beyond M.
void multiply_split(Queue& queue, const Product& product);

}  // namespace gpu

#endif
