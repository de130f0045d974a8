// Slabs of logits of a head: 4096 columns of a block of rows, made by a product like that of `linear`, a slab after the other
// in the same memory.

#ifndef STEPCREDIT_CUDA_HEAD_SLABS_CUH
#define STEPCREDIT_CUDA_HEAD_SLABS_CUH

#include "listed_rows.cuh"
#include "logit_row.cuh"
#include "matmul.cuh"

namespace gpu {

constexpr int64_t kSlabColumns = 4096;

struct Slab {
  int64_t begin, width;
  bool last;

  __device__ bool holds(int32_t target) const { return target >= begin && target < begin + width; }
};

__device__ inline LogitRow<float> slab_row(const HeadRows& rows, const float* y, const Slab& slab, int64_t t) {
  const int64_t first = rows.target_offsets[t];
  return {y + blockIdx.x * slab.width, slab.width,
          logit_chain(rows, t),        nullptr,
          rows.targets + first,        rows.target_offsets[t + 1] - first,
          rows.ignore_index,           {}};
}

// body(slab) for the slabs of the vocabulary, in order.
template <class Body>
void slabs(int64_t V, const Body& body) {
  for (int64_t begin = 0; begin < V; begin += kSlabColumns)
    body(Slab{begin, smaller(V - begin, kSlabColumns), begin + kSlabColumns >= V});
}

inline Matrix rows_of_weight(const HeadRows& head, int64_t begin) {
  const char* const weight = static_cast<const char*>(head.weight);
  return {weight + static_cast<size_t>(begin * head.H) * size_of(head.weight_dtype), head.weight_dtype, head.H};
}

inline Product logits_of(const HeadRows& head, const void* copies, int64_t count, const Slab& slab, float* y) {
  return {Form::kOverColumns,
          count,
          slab.width,
          head.H,
          {copies, dtype_of_copies(head), head.H},
          rows_of_weight(head, slab.begin),
          y,
          slab.width,
          false,
          head.bias ? head.bias + slab.begin : nullptr,
          head.portable != 0};
}

}  // namespace gpu

#endif
