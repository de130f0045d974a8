// A block makes the logits of a tile again and turns them into their gradients where they are, in registers.

#include "head_gradient.cuh"
#include "head_tiles.cuh"
#include "launch.cuh"
#include "logit_tiles.cuh"

namespace gpu {

namespace {

static_assert(kGradientTile == kTileColumns, "a tile is written whole");

// A row of the tile.
struct GradientRow {
  HeadGradient gradient;
  float factor;
  bool aimed;  // whether a target lies in the tile
};

__device__ GradientRow gradient_row(const LinearLogprobsBackwardArgs& args, int64_t t, int64_t v, int64_t columns) {
  GradientRow row = {head_gradient(args, t), 0.0f, false};
  row.factor = -row.gradient.G();
  for (int32_t k = 0; k < row.gradient.count; ++k) {
    const int64_t column = row.gradient.targets[k] - v;
    row.aimed |= !row.gradient.ignored(k) && column >= 0 && column < columns;
  }
  return row;
}

// Puts right the gradients of what are targets; v: the id of the tile's first column.
__device__ void aim(const HeadGradient& of, const Place& place, int64_t v, const float (&y)[kOwn], float (&d)[kOwn]) {
  for (int32_t k = 0; k < of.count; ++k) {
    if (of.ignored(k)) continue;
    const int64_t column = of.targets[k] - v;
    SC_UNROLL
    for (int i = 0; i < kOwn; ++i)
      if (column == place.column_of(i) && y[i] != -INFINITY && of.first_of_its_id(k)) d[i] = of.at_target(k, y[i], d[i]);
  }
}

// Writes a lane's gradients; `to`: the tile's first. v: the id of its first column.
__device__ void write_gradients(const GradientRow* rows, int64_t count, const Place& place, int64_t v, int64_t V,
                                const Products& logits, float* to, int64_t stride) {
  SC_UNROLL
  for (int r = 0; r < kOwn; ++r) {
    const int row = place.row_of(r);
    if (row >= count) continue;
    const GradientRow& of = rows[row];
    float y[kOwn], d[kOwn];
    SC_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      y[i] = logits[r / 2][i / 2][r % 2 * 2 + i % 2];
      d[i] = v + place.column_of(i) < V ? of.gradient.at(y[i], of.factor) : 0.0f;
    }
    if (of.aimed) aim(of.gradient, place, v, y, d);
    SC_UNROLL
    for (int i = 0; i < kOwn; i += 2)
      *reinterpret_cast<float2*>(to + row * stride + place.column_of(i)) = make_float2(d[i], d[i + 1]);
  }
}

// hidden [rows, H].
template <class Half>
__global__ void __launch_bounds__(kLogitThreads, 1)
    gradient_tiles(LinearLogprobsBackwardArgs args, const int32_t* list, int64_t rows, const Half* hidden, GradientSlab slab) {
  __shared__ GradientRow tile_rows[kTileRows];
  Stage<Half>* const stages = dynamic_shared<Stage<Half>>();
  const HeadRows& head = args.head;
  const Place place;
  const int64_t first_row = int64_t{blockIdx.x} * kTileRows, first_column = int64_t{blockIdx.y} * kTileColumns;
  const int64_t v = slab.begin + first_column, count = rows - first_row;
  const int64_t columns = slab.width - first_column < kTileColumns ? slab.width - first_column : kTileColumns;
  if (threadIdx.x < kTileRows && threadIdx.x < count)
    tile_rows[threadIdx.x] = gradient_row(args, list[first_row + threadIdx.x], v, columns);

  const int depths = static_cast<int>((head.H + kDepth - 1) / kDepth);
  Slices<Half> slices = {
      hidden, static_cast<const Half*>(head.weight) + v * head.H, first_row, rows, columns, head.H, depths, 0, 0};
  for (int stage = 0; stage < kStages - 1; ++stage) slices.begin(stages + stage);
  Products products = {};
  for (int depth = 0, stage = 0; depth < depths; ++depth) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // this stage is there for all, and the one before has been read by all
    slices.begin(stages + (stage + kStages - 1) % kStages);
    add_products(stages[stage], place, products);
    stage = (stage + 1) % kStages;
  }
  make_logits(head, place, v, products);
  write_gradients(tile_rows, count, place, v, slab.begin + slab.width, products,
                  slab.dlogits + first_row * slab.stride + first_column, slab.stride);
}

}  // namespace

void enqueue_gradient_tiles(const LinearLogprobsBackwardArgs& args, const int32_t* list, int64_t rows, const void* hidden,
                            const GradientSlab& slab, cudaStream_t stream) {
  const dim3 blocks(static_cast<unsigned>((rows + kTileRows - 1) / kTileRows),
                    static_cast<unsigned>((slab.width + kTileColumns - 1) / kTileColumns));
  const auto enqueue = [&](auto half) {
    using Half = decltype(half);
    const size_t shared = kStages * sizeof(Stage<Half>);
    ask_for_shared(gradient_tiles<Half>, shared);
    launch(gradient_tiles<Half>, {blocks, kLogitThreads, shared}, stream, args, list, rows, static_cast<const Half*>(hidden),
           slab);
  };
  if (args.head.hidden_dtype == kBf16) {
    enqueue(Bf16{});
  } else {
    enqueue(F16{});
  }
}

}  // namespace gpu
