// A block has 128 rows and a group of columns, which it goes through 128 columns at a time. Once the logits of a tile are
// complete, each lane adds its own to the sums of its 8 rows, which meet at the end of the group.

#include <stdlib.h>

#include "cublaslt.cuh"
#include "head_tiles.cuh"
#include "launch.cuh"
#include "logit_tiles.cuh"

namespace gpu {

namespace {

constexpr int64_t kGroupColumns = 2048;

constexpr int32_t kNoColumn = -1, kSeveralColumns = -2;

// A row of the tile: its targets, and the column of the group that they have.
struct TileRow {
  float scale;
  int32_t first, count;
  int32_t column;
};

__device__ TileRow tile_row(const HeadRows& head, int64_t t, int64_t first_column, int64_t columns) {
  TileRow row = {logit_chain(head, t).scale, head.target_offsets[t], head.target_offsets[t + 1] - head.target_offsets[t],
                 kNoColumn};
  for (int32_t n = row.first; n < row.first + row.count; ++n) {
    const int64_t column = head.targets[n] - first_column;
    if (head.targets[n] == head.ignore_index || column < 0 || column >= columns) continue;
    row.column = row.column == kNoColumn || row.column == column ? static_cast<int32_t>(column) : kSeveralColumns;
  }
  return row;
}

// Writes the logits of targets where log-probs will be; v: the id of the tile's first column.
__device__ void keep_targets(const LinearLogprobsArgs& args, const TileRow& row, const Place& place, int64_t v,
                             const float (&x)[kOwn]) {
  for (int32_t n = row.first; n < row.first + row.count; ++n) {
    const int64_t column = args.head.targets[n] - v;
    if (args.head.targets[n] == args.head.ignore_index) continue;
    SC_UNROLL
    for (int i = 0; i < kOwn; ++i)
      if (column == place.column_of(i)) args.logprobs[n] = x[i];
  }
}

// Adds a tile of products, complete, to the sums of the lane's rows; `column`: of the group, of the tile's first.
template <bool with_entropy>
__device__ void add_tile(const LinearLogprobsArgs& args, const TileRow* rows, const Place& place, int64_t first_column,
                         int column, Products& products, RowSums<float> (&sums)[kOwn]) {
  const int64_t v = first_column + column;
  make_logits(args.head, place, v, products);
  SC_UNROLL
  for (int r = 0; r < kOwn; ++r) {
    float x[kOwn];
    SC_UNROLL
    for (int i = 0; i < kOwn; ++i) x[i] = products[r / 2][i / 2][r % 2 * 2 + i % 2];
    const TileRow& row = rows[place.row_of(r)];
    const int of_warp = row.column - column - place.column;
    if (row.column == kSeveralColumns || (row.column >= 0 && of_warp >= 0 && of_warp < kWarpColumns))
      keep_targets(args, row, place, v, x);
    add_elements<with_entropy>(&sums[r], x, row.scale);
  }
}

// The sums of a row over a group of columns: partial[row · groups + group]. hidden [rows, H].
template <class Half, bool with_entropy>
__global__ void __launch_bounds__(kLogitThreads, 1)
    sum_tiles(LinearLogprobsArgs args, const int32_t* list, int64_t rows, const Half* hidden, RowSums<float>* partial) {
  __shared__ TileRow tile_rows[kTileRows];
  Stage<Half>* const stages = dynamic_shared<Stage<Half>>();
  const HeadRows& head = args.head;
  const Place place;
  const int64_t first_row = int64_t{blockIdx.x} * kTileRows, first_column = int64_t{blockIdx.y} * kGroupColumns;
  const int64_t columns = head.V - first_column < kGroupColumns ? head.V - first_column : kGroupColumns;
  const int depths = static_cast<int>((head.H + kDepth - 1) / kDepth);
  const int steps = static_cast<int>((columns + kTileColumns - 1) / kTileColumns) * depths;
  if (threadIdx.x < kTileRows) {
    const int64_t row = first_row + threadIdx.x;
    tile_rows[threadIdx.x] = row < rows ? tile_row(head, list[row], first_column, columns) : TileRow{1.0f, 0, 0, kNoColumn};
  }

  Slices<Half> slices = {
      hidden, static_cast<const Half*>(head.weight) + first_column * head.H, first_row, rows, columns, head.H, depths, 0, 0};
  for (int stage = 0; stage < kStages - 1; ++stage) slices.begin(stages + stage);
  RowSums<float> sums[kOwn];
  SC_UNROLL
  for (int r = 0; r < kOwn; ++r) sums[r] = no_sums<float>();
  Products products = {};
  for (int step = 0, stage = 0, depth = 0, column = 0; step < steps; ++step) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // this stage is there for all, and the one before has been read by all
    slices.begin(stages + (stage + kStages - 1) % kStages);
    add_products(stages[stage], place, products);
    stage = (stage + 1) % kStages;
    if (++depth < depths) continue;
    add_tile<with_entropy>(args, tile_rows, place, first_column, column, products, sums);
    each_product(products, [](float& product, int) { product = 0.0f; });
    depth = 0;
    column += kTileColumns;
  }

  wait_for_copies<0>();
  __syncthreads();                                                             // nobody reads stages any more
  RowSums<float>* const of_warps = reinterpret_cast<RowSums<float>*>(stages);  // [warps across, rows]
  SC_UNROLL
  for (int r = 0; r < kOwn; ++r) {
    const int row = place.row_of(r);
    const float scale = tile_rows[row].scale;
    sums[r] = joined(sums[r], shuffled_xor(sums[r], 1), scale);
    sums[r] = joined(sums[r], shuffled_xor(sums[r], 2), scale);
    if (place.lane % 4 == 0) of_warps[place.column / kWarpColumns * kTileRows + row] = sums[r];
  }
  __syncthreads();
  if (threadIdx.x >= kTileRows || first_row + threadIdx.x >= rows) return;
  RowSums<float> all = of_warps[threadIdx.x];
  for (int warp = 1; warp < kWarpsAcross; ++warp)
    all = joined(all, of_warps[warp * kTileRows + threadIdx.x], tile_rows[threadIdx.x].scale);
  partial[(first_row + threadIdx.x) * gridDim.y + blockIdx.y] = all;
}

// A warp has a row of the list; its log-probs hold the logits of its targets.
template <bool with_entropy>
__global__ void finish_rows(LinearLogprobsArgs args, const int32_t* list, const RowSums<float>* partial, int groups) {
  const HeadRows& head = args.head;
  const int64_t t = list[blockIdx.x];
  const float scale = logit_chain(head, t).scale;
  RowSums<float> mine = no_sums<float>();
  for (int group = static_cast<int>(threadIdx.x); group < groups; group += kWarp)
    mine = joined(mine, partial[int64_t{blockIdx.x} * groups + group], scale);
  const RowSums<double> all = sum_threads<kWarp, with_entropy>(mine, scale);
  for (int64_t n = head.target_offsets[t] + threadIdx.x; n < head.target_offsets[t + 1]; n += kWarp)
    if (head.targets[n] != head.ignore_index) args.logprobs[n] = row_logprob(all, args.logprobs[n], scale);
  if (threadIdx.x != 0) return;
  args.lse[t] = row_lse(all, scale);
  if (with_entropy) args.entropy[t] = row_entropy(all);
}

int groups_of(int64_t V) { return static_cast<int>((V + kGroupColumns - 1) / kGroupColumns); }

// One half type, and rows of H at multiples of 16 bytes.
bool fits(const HeadRows& head) {
  return head.portable == 0 && head.hidden_dtype == head.weight_dtype && head.hidden_dtype != kF32 && head.H >= 16 &&
         head.H % 16 == 0 && head.V > 0 && groups_of(head.V) < 65536 && reinterpret_cast<uintptr_t>(head.weight) % 16 == 0;
}

bool asks_for(const char* way) {
  const char* const wanted = getenv("STEPCREDIT_CUDA_HEAD");
  return wanted && strcmp(wanted, way) == 0;
}

}  // namespace

bool forward_takes_tiles(const HeadRows& head) {
  if (!fits(head) || asks_for("products")) return false;
  return asks_for("tiles") || cublaslt_absence() != nullptr;
}

bool backward_takes_tiles(const HeadRows& head) { return fits(head) && !asks_for("products"); }

size_t head_tiles_bytes(const HeadRows& head, int64_t rows) {
  return static_cast<size_t>(rows * groups_of(head.V)) * sizeof(RowSums<float>);
}

void enqueue_head_tiles(const LinearLogprobsArgs& args, const int32_t* list, int64_t rows, const void* hidden, void* memory,
                        cudaStream_t stream) {
  const int groups = groups_of(args.head.V);
  const dim3 blocks(static_cast<unsigned>((rows + kTileRows - 1) / kTileRows), static_cast<unsigned>(groups));
  RowSums<float>* const partial = static_cast<RowSums<float>*>(memory);
  const auto enqueue = [&](auto half) {
    using Half = decltype(half);
    const auto kernel = args.entropy ? sum_tiles<Half, true> : sum_tiles<Half, false>;
    const size_t shared = kStages * sizeof(Stage<Half>);
    ask_for_shared(kernel, shared);
    launch(kernel, {blocks, kLogitThreads, shared}, stream, args, list, rows, static_cast<const Half*>(hidden), partial);
  };
  if (args.head.hidden_dtype == kBf16) {
    enqueue(Bf16{});
  } else {
    enqueue(F16{});
  }
  const auto finish = args.entropy ? finish_rows<true> : finish_rows<false>;
  launch(finish, {static_cast<unsigned>(rows), kWarp}, stream, args, list, static_cast<const RowSums<float>*>(partial), groups);
}

}  // namespace gpu
