// A block has 128 rows and a group of columns, which it goes through 128 columns at a time. Both operands of a product come in
// slices of 32 terms, of which two are on their way while a third is multiplied. A warp has 64 × 32 logits of a tile, a lane of
// it 8 × 8; once they are complete, each lane adds them to the sums of its 8 rows, which meet at the end of the group.

#include "head_tiles.cuh"
#include "launch.cuh"
#include "logit_row.cuh"
#include "mma.cuh"
#include "unroll.cuh"

namespace gpu {

namespace {

constexpr int kThreads = 256;
constexpr int kTileRows = 128, kTileColumns = 128, kDepth = 32;
constexpr int kWarpRows = 64, kWarpColumns = 32, kWarpsAcross = kTileColumns / kWarpColumns;
constexpr int kDown = kWarpRows / 16, kAcross = kWarpColumns / 8;  // products of a warp
constexpr int kOwn = 8;                                            // rows and columns of a lane
static_assert(2 * kDown == kOwn && 2 * kAcross == kOwn, "a lane has two rows and two columns of every product");
static_assert(kTileRows / kWarpRows * kWarpsAcross * kWarp == kThreads, "the warps of a block make a tile");
constexpr int kPitch = kDepth + 8;  // elements from row to row: eight rows side by side meet in no bank
constexpr int kStages = 3;
constexpr int64_t kGroupColumns = 2048;

template <class Half>
struct alignas(16) Stage {
  Half rows[kTileRows * kPitch];
  Half columns[kTileColumns * kPitch];
};

// The part of a tile that a lane has.
struct Place {
  int lane, row, column;  // of the warp's first logit

  __device__ Place()
      : lane(static_cast<int>(threadIdx.x) % kWarp),
        row(static_cast<int>(threadIdx.x) / kWarp / kWarpsAcross * kWarpRows),
        column(static_cast<int>(threadIdx.x) / kWarp % kWarpsAcross * kWarpColumns) {}
  __device__ int row_of(int r) const { return row + r / 2 * 16 + r % 2 * 8 + lane / 4; }
  __device__ int column_of(int i) const { return column + i / 2 * 8 + lane % 4 * 2 + i % 2; }
};

// ── products

// Begins to copy the terms k … k + kDepth − 1 of the rows `first` … of a matrix [rows, H]; zeros where there are none.
template <class Half>
__device__ void begin_slice(const Half* matrix, int64_t first, int64_t rows, int64_t H, int64_t k, Half* to) {
  constexpr int kVector = 8, kVectors = kDepth / kVector;
  static_assert(kTileRows == kTileColumns && kTileRows * kVectors % kThreads == 0, "all threads copy as much");
  SC_UNROLL
  for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kVectors; i += kThreads) {
    const int row = i / kVectors, at = i % kVectors * kVector;
    const bool exists = first + row < rows && k + at < H;
    begin_copy(to + row * kPitch + at, matrix + (exists ? (first + row) * H + k + at : 0), exists);
  }
}

// What is multiplied: the slices of all tiles of a group, one after the other.
template <class Half>
struct Slices {
  const Half* hidden;
  const Half* weight;  // of the group
  int64_t first_row, rows, columns, H;
  int depths, tile, depth;  // the slice that is copied next

  __device__ void begin(Stage<Half>* stage) {
    if (tile * kTileColumns < columns) {
      begin_slice(hidden, first_row, rows, H, int64_t{depth} * kDepth, stage->rows);
      begin_slice(weight, int64_t{tile} * kTileColumns, columns, H, int64_t{depth} * kDepth, stage->columns);
      depth = depth + 1 < depths ? depth + 1 : 0;
      tile += depth == 0;
    }
    end_copies();
  }
};

using Products = float[kDown][kAcross][4];

template <class Half>
__device__ void add_products(const Stage<Half>& stage, const Place& place, Products& sums) {
  const int lane = place.lane;
  SC_UNROLL
  for (int k = 0; k < kDepth; k += 16) {
    FragmentA a[kDown];
    FragmentB b[kAcross];
    SC_UNROLL
    for (int m = 0; m < kDown; ++m)
      load_matrices(stage.rows + (place.row + m * 16 + lane % 16) * kPitch + k + lane / 16 * 8, a[m].pairs);
    SC_UNROLL
    for (int n = 0; n < kAcross; n += 2) {
      unsigned pairs[4];
      load_matrices(stage.columns + (place.column + n * 8 + lane / 16 * 8 + lane % 8) * kPitch + k + lane / 8 % 2 * 8, pairs);
      b[n] = {{pairs[0], pairs[1]}};
      b[n + 1] = {{pairs[2], pairs[3]}};
    }
    SC_UNROLL
    for (int m = 0; m < kDown; ++m) {
      SC_UNROLL
      for (int n = 0; n < kAcross; ++n) mma_16x8x16<Half>(sums[m][n], a[m], b[n]);
    }
  }
}

// ── rows

constexpr int32_t kNoColumn = -1, kSeveralColumns = -2;

// A row of the tile: its targets, and the column of the group that they have.
struct TileRow {
  float scale;
  int32_t first, count;
  int32_t column;
};

__device__ LogitChain chain_of(const HeadRows& head, int64_t t) {
  return logit_chain(head.logit_scale, head.softcap, head.temperatures ? head.temperatures[t] : head.temperature);
}

__device__ TileRow tile_row(const HeadRows& head, int64_t t, int64_t first_column, int64_t columns) {
  TileRow row = {chain_of(head, t).scale, head.target_offsets[t], head.target_offsets[t + 1] - head.target_offsets[t],
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

// body(product, i) for all products of the lane; i: which of its columns.
template <class Body>
__device__ void each_product(Products& products, const Body& body) {
  SC_UNROLL
  for (int m = 0; m < kDown; ++m) {
    SC_UNROLL
    for (int n = 0; n < kAcross; ++n) {
      SC_UNROLL
      for (int i = 0; i < 4; ++i) body(products[m][n][i], 2 * n + i % 2);
    }
  }
}

// Makes y of products that are complete, −∞ where there is no column; v: the id of the tile's first column.
__device__ void make_logits(const HeadRows& head, const Place& place, int64_t v, Products& products) {
  float bias[kOwn];
  unsigned exists = 0;
  SC_UNROLL
  for (int i = 0; i < kOwn; ++i) {
    const bool here = v + place.column_of(i) < head.V;
    exists |= static_cast<unsigned>(here) << i;
    bias[i] = here && head.bias ? head.bias[v + place.column_of(i)] : 0.0f;
  }
  each_product(products, [&](float& product, int i) { product += bias[i]; });
  const LogitChain chain = logit_chain(head.logit_scale, head.softcap, 1.0f);  // the cap knows no temperature
  if (chain.softcap > 0.0f) each_product(products, [&](float& product, int) { product = chain.cap(product); });
  if (exists != (1u << kOwn) - 1u)
    each_product(products, [&](float& product, int i) { product = exists >> i & 1 ? product : -INFINITY; });
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
__global__ void __launch_bounds__(kThreads, 1)
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
  const float scale = chain_of(head, t).scale;
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

}  // namespace

bool head_tiles_fit(const HeadRows& head) {
  return head.hidden_dtype == head.weight_dtype && head.hidden_dtype != kF32 && head.H >= 16 && head.H % 16 == 0 &&
         head.V > 0 && groups_of(head.V) < 65536 && reinterpret_cast<uintptr_t>(head.weight) % 16 == 0;
}

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
    launch(kernel, {blocks, kThreads, shared}, stream, args, list, rows, static_cast<const Half*>(hidden), partial);
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
