#include "convert.cuh"
#include "launch.cuh"
#include "quad.cuh"
#include "queue.cuh"

namespace gpu {

namespace {

constexpr int kThreads = 256;

template <class From, class To>
__global__ void convert_numbers(const From* from, To* to, int64_t count, bool wide) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kQuad;
  if (i < count) store_quad(to + i, load_quad(from + i, count - i, wide), count - i, wide);
}

}  // namespace

int32_t convert(ScStream stream, void* to, int32_t to_dtype, const void* from, int32_t from_dtype, size_t count,
                ScError* error) {
  if (count == 0) return 0;
  Queue& queue = queue_of(stream);
  if (checked(cudaSetDevice(queue.device), "CUDA", "a copy between types", error) != 0) return 1;
  const int64_t numbers = static_cast<int64_t>(count);
  const unsigned blocks = static_cast<unsigned>(blocks_of(numbers, kThreads * kQuad));
  with_element(from_dtype, [&](auto from_type) {
    with_element(to_dtype, [&](auto to_type) {
      const auto* source = static_cast<const typename decltype(from_type)::Element*>(from);
      auto* target = static_cast<typename decltype(to_type)::Element*>(to);
      const bool wide = lies_in_quads(source, kQuad) && lies_in_quads(target, kQuad);
      launch(convert_numbers<typename decltype(from_type)::Element, typename decltype(to_type)::Element>, {blocks, kThreads},
             queue.stream, source, target, numbers, wide);
    });
  });
  return launched(&queue, "a copy between types", error);
}

}  // namespace gpu
