// Products of matrices in device memory, C [M, N] (+)= A' · B' + bias, with sums in f32. One interface over three ways: a tiled
// kernel of our own (matmul.cu), and where the product need not be portable tensor cores for f32 with a weight of a half type
// (split_products.cuh) and cuBLASLt where it is found (cublaslt.cu).
//
// Order      of the tiled kernel: every element is Σ over blocks of 256 terms of a running f32 sum each, in order, whatever M,
// N
//            and the tiles are, so a row's bits depend on that row alone. A product over rows (kOverRows) that has few tiles
//            is cut into segments of terms, how many follows from its shape; the segments' sums in order, added to C as one
//            number.

#ifndef STEPCREDIT_CUDA_MATMUL_CUH
#define STEPCREDIT_CUDA_MATMUL_CUH

#include "queue.cuh"

namespace gpu {

// How the operands are stored; K is what is summed over.
enum class Form {
  kOverColumns,  // A [M, K], B [N, K]: C = A · Bᵀ
  kPlain,        // A [M, K], B [K, N]: C = A · B
  kOverRows,     // A [K, M], B [K, N]: C = Aᵀ · B
};

// Row-major; `stride` elements from one row to the next.
struct Matrix {
  const void* data;
  int32_t dtype;
  int64_t stride;
};

struct Product {
  Form form;
  int64_t M, N, K;
  Matrix A;  // f32; in kOverColumns also of the dtype of B
  Matrix B;
  float* C;
  int64_t stride;  // of C
  bool accumulate;
  const float* bias;  // [N] opt; not in kOverRows
  bool portable;      // the tiled kernel, wherever it runs
};

// Scratch memory that `multiply` wants for a product; 0 for one without terms or results. Beginnings at multiples of 256.
size_t multiply_bytes(const Product& product);

// Enqueues a product. `memory`: multiply_bytes of it.
void multiply(Queue& queue, const Product& product, void* memory);

}  // namespace gpu

#endif
