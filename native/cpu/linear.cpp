// linear, linear_backward: the three products of a linear layer.

#include <stdlib.h>

#include "blas.h"
#include "cpu.h"
#include "elements.h"
#include "matmul.h"
#include "scratch.h"

namespace SC_ISA {

namespace {

// Rows per call of BLAS: from the shape alone, so that the result does not depend on the threads.
int64_t blas_rows(int64_t rows) { return rows >= 2048 ? 512 : rows >= 256 ? 128 : 64; }

// Half weights are widened a slab of rows at a time, about as many numbers as this. A slab is a whole number of the product's
// blocks: sums over rows are cut where those of a weight in f32 are.
constexpr int64_t kSlabNumbers = 1 << 20;

int64_t slab_rows(int64_t I) {
  const int64_t rows = kSlabNumbers / (I > 0 ? I : 1) / kDepth * kDepth;
  return rows > kDepth ? rows : kDepth;
}

// body(begin, rows, weight [rows, I]) for the slabs of a weight [O, I], in order; one in f32 is a single slab. False where
// there is no memory, or where a body says so, which ends it.
template <class Body>
bool slabs(int64_t O, int64_t I, int32_t dtype, const void* weight, const Body& body) {
  if (dtype == kF32) return body(0, O, static_cast<const float*>(weight));
  const int64_t most = slab_rows(I) < O ? slab_rows(I) : O;
  float* const wide = static_cast<float*>(malloc(static_cast<size_t>(most * I + 1) * sizeof(float)));
  bool done = wide != nullptr;
  for (int64_t begin = 0; done && (begin < O || begin == 0); begin += slab_rows(I)) {
    const int64_t rows = O - begin < most ? O - begin : most;
    parallel_blocks(rows, 32, [&](int64_t first, int64_t last) {
      widen_numbers(dtype, weight, (begin + first) * I, (last - first) * I, wide + first * I);
    });
    done = body(begin, rows, static_cast<const float*>(wide));
  }
  free(wide);
  return done;
}

}  // namespace

int32_t linear(const LinearArgs* args, ScStream, ScError* error) {
  const int64_t T = args->T, I = args->I, O = args->O;
  const bool blas = by_blas(I, O, args->portable);
  const bool done = slabs(O, I, args->weight_dtype, args->weight, [&](int64_t begin, int64_t rows, const float* weight) {
    float* const y = args->y + begin;
    const float* const bias = args->bias ? args->bias + begin : nullptr;
    if (!blas) return multiply(T, rows, I, {args->x, I, 1}, {weight, 1, I}, y, O, args->accumulate != 0, bias);
    parallel_blocks(T, blas_rows(T), [&](int64_t first, int64_t last) {
      sc_sgemm(false, true, last - first, rows, I, args->x + first * I, I, weight, I, args->accumulate ? 1.0f : 0.0f,
               y + first * O, O);
      if (!bias) return;
      for (int64_t t = first; t < last; ++t)
        for (int64_t o = 0; o < rows; ++o) y[t * O + o] += bias[o];
    });
    return true;
  });
  return done ? 0 : fail(error, "no memory to widen or to pack the weight");
}

int32_t linear_backward(const LinearBackwardArgs* args, ScStream, ScError* error) {
  const int64_t T = args->T, I = args->I, O = args->O;
  const bool blas = by_blas(I, O, args->portable);
  const auto add_slab = [&](int64_t begin, int64_t rows, const float* weight) {
    const float* const dy = args->dy + begin;
    const bool add = args->accumulate || begin > 0;
    if (!blas) return multiply(T, I, rows, {dy, O, 1}, {weight, I, 1}, args->dx, I, add, nullptr);
    parallel_blocks(T, blas_rows(T), [&](int64_t first, int64_t last) {
      sc_sgemm(false, false, last - first, I, rows, dy + first * O, O, weight, I, add ? 1.0f : 0.0f, args->dx + first * I, I);
    });
    return true;
  };
  const bool done = !args->dx || slabs(O, I, args->weight_dtype, args->weight, add_slab);
  if (args->dweight && blas) {
    parallel_blocks(O, blas_rows(O), [&](int64_t begin, int64_t end) {
      sc_sgemm(true, false, end - begin, I, T, args->dy + begin, O, args->x, I, 1.0f, args->dweight + begin * I, I);
    });
  } else if (args->dweight) {
    if (const int32_t code = add_outer_products(O, I, T, args->dy, args->x, args->dweight, error)) return code;
  }
  if (args->dbias) {
    parallel_blocks(O, 64, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        double sum = 0.0;
        for (int64_t t = 0; t < T; ++t) sum += static_cast<double>(args->dy[t * O + o]);
        args->dbias[o] += static_cast<float>(sum);
      }
    });
  }
  return done ? 0 : fail(error, "no memory to widen the weight or to pack an operand");
}

}  // namespace SC_ISA
