// linear, linear_backward: the three products of a linear layer.

#include "blas.h"
#include "cpu.h"
#include "matmul.h"
#include "scratch.h"

namespace SC_ISA {

namespace {

// Rows per call of BLAS: from the shape alone, so that the result does not depend on the threads.
int64_t blas_rows(int64_t rows) { return rows >= 2048 ? 512 : rows >= 256 ? 128 : 64; }

}  // namespace

int32_t linear(const LinearArgs* args, ScStream, ScError* error) {
  const int64_t T = args->T, I = args->I, O = args->O;
  if (by_blas(I, O, args->portable)) {
    parallel_blocks(T, blas_rows(T), [&](int64_t begin, int64_t end) {
      sc_sgemm(false, true, end - begin, O, I, args->x + begin * I, I, args->weight, I, args->accumulate ? 1.0f : 0.0f,
               args->y + begin * O, O);
      if (args->bias)
        for (int64_t t = begin; t < end; ++t)
          for (int64_t o = 0; o < O; ++o) args->y[t * O + o] += args->bias[o];
    });
    return 0;
  }
  const bool done = multiply(T, O, I, {args->x, I, 1}, {args->weight, 1, I}, args->y, O, args->accumulate != 0, args->bias);
  return done ? 0 : fail(error, "no memory to pack the weight");
}

int32_t linear_backward(const LinearBackwardArgs* args, ScStream, ScError* error) {
  const int64_t T = args->T, I = args->I, O = args->O;
  const bool blas = by_blas(I, O, args->portable);
  bool done = true;
  if (args->dx && blas) {
    parallel_blocks(T, blas_rows(T), [&](int64_t begin, int64_t end) {
      sc_sgemm(false, false, end - begin, I, O, args->dy + begin * O, O, args->weight, I, args->accumulate ? 1.0f : 0.0f,
               args->dx + begin * I, I);
    });
  } else if (args->dx) {
    done = multiply(T, I, O, {args->dy, O, 1}, {args->weight, I, 1}, args->dx, I, args->accumulate != 0, nullptr);
  }
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
  return done ? 0 : fail(error, "no memory to pack an operand");
}

}  // namespace SC_ISA
