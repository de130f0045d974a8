// Sums over the rows of a matrix, column by column: the gradient of a bias.

#ifndef STEPCREDIT_CUDA_COLUMN_SUMS_CUH
#define STEPCREDIT_CUDA_COLUMN_SUMS_CUH

#include "launch.cuh"
#include "quad.cuh"

namespace gpu {

constexpr int64_t kSummedRows = 256;  // by one thread
constexpr int kSummingThreads = 128;

// partial[c, j] = Σ of the c-th kSummedRows rows of x [rows, columns], `stride` from one to the next, in order.
static __global__ void sum_columns(const float* x, int64_t stride, int64_t rows, int64_t columns, double* partial) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kSummingThreads + threadIdx.x;
  if (j >= columns) return;
  const int64_t begin = blockIdx.y * kSummedRows, end = begin + kSummedRows < rows ? begin + kSummedRows : rows;
  double sum = 0.0;
  for (int64_t i = begin; i < end; ++i) sum += static_cast<double>(x[i * stride + j]);
  partial[blockIdx.y * columns + j] = sum;
}

static __global__ void add_column_sums(const double* partial, int64_t chunks, int64_t columns, float* to) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kSummingThreads + threadIdx.x;
  if (j >= columns) return;
  double sum = 0.0;
  for (int64_t c = 0; c < chunks; ++c) sum += partial[c * columns + j];
  to[j] += static_cast<float>(sum);
}

inline size_t column_sum_bytes(int64_t rows, int64_t columns) {
  return static_cast<size_t>(blocks_of(rows, kSummedRows) * columns) * sizeof(double);
}

// to [columns] += Σ of the rows of x, in f64, of which `memory` holds column_sum_bytes.
inline void add_columns(cudaStream_t stream, const float* x, int64_t stride, int64_t rows, int64_t columns, float* to,
                        void* memory) {
  if (rows <= 0 || columns <= 0) return;
  const int64_t chunks = blocks_of(rows, kSummedRows);
  const unsigned across = static_cast<unsigned>(blocks_of(columns, kSummingThreads));
  double* const partial = static_cast<double*>(memory);
  launch(sum_columns, {dim3(across, static_cast<unsigned>(chunks)), kSummingThreads}, stream, x, stride, rows, columns,
         partial);
  launch(add_column_sums, {across, kSummingThreads}, stream, partial, chunks, columns, to);
}

}  // namespace gpu

#endif
