// linear, linear_backward: the three products of a linear layer.
//
// Order      dx: as linear, see matmul.cuh. dbias: f64 per 256 rows, those in order.

#include "column_sums.cuh"
#include "matmul.cuh"
#include "table.cuh"

namespace gpu {

int32_t linear(const LinearArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const int64_t T = args->T, I = args->I, O = args->O;
  const Product y = {Form::kOverColumns,
                     T,
                     O,
                     I,
                     {args->x, kF32, I},
                     {args->weight, args->weight_dtype, I},
                     args->y,
                     O,
                     args->accumulate != 0,
                     args->bias,
                     args->portable != 0};
  const size_t bytes = multiply_bytes(y);
  void* const memory = bytes > 0 ? scratch(&queue, bytes, "linear", error) : nullptr;
  if (bytes > 0 && !memory) return 1;
  multiply(queue, y, memory);
  return launched(&queue, "linear", error);
}

int32_t linear_backward(const LinearBackwardArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const int64_t T = args->T, I = args->I, O = args->O;
  const bool portable = args->portable != 0;
  const Matrix dy = {args->dy, kF32, O};
  const Product dx = {Form::kPlain, T, args->dx ? I : 0,      O,       dy,      {args->weight, args->weight_dtype, I},
                      args->dx,     I, args->accumulate != 0, nullptr, portable};
  const Product dweight = {Form::kOverRows, O,       args->dweight ? I : 0, T, dy, {args->x, kF32, I}, args->dweight, I, true,
                           nullptr,         portable};
  size_t bytes = args->dbias ? column_sum_bytes(T, O) : 0;
  for (const size_t wanted : {multiply_bytes(dx), multiply_bytes(dweight)}) bytes = wanted > bytes ? wanted : bytes;
  void* const memory = bytes > 0 ? scratch(&queue, bytes, "linear_backward", error) : nullptr;
  if (bytes > 0 && !memory) return 1;
  multiply(queue, dx, memory);
  if (T > 0) multiply(queue, dweight, memory);
  if (args->dbias) add_columns(queue.stream, args->dy, O, T, O, args->dbias, memory);
  return launched(&queue, "linear_backward", error);
}

}  // namespace gpu
