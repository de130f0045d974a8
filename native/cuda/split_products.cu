// A block makes a tile of 128 × 128 of C. Both operands come in slices of 32 terms, of which two are on their way while a third
// is multiplied. A warp has 32 × 64 of the tile: few rows, because every warp splits the rows that it multiplies itself.

#include "launch.cuh"
#include "quad.cuh"
#include "split_mma.cuh"
#include "split_products.cuh"

namespace gpu {

namespace {

constexpr int kThreads = 256;
constexpr int kTile = 128, kDepth = 32;
constexpr int kWarpRows = 32, kWarpColumns = 64, kWarpsAcross = kTile / kWarpColumns;
constexpr int kDown = kWarpRows / 16, kAcross = kWarpColumns / 8;  // products of a warp
constexpr int kSteps = kDepth / 16;
constexpr int kStages = 3;
static_assert(kTile / kWarpRows * kWarpsAcross * kWarp == kThreads, "the warps of a block make a tile");

// From row to row of a stage, so that what a warp reads at once meets in no bank.
constexpr int kPitchOfRows = kDepth + 8, kPitchOfTerms = kTile + 4, kPitchOfHalves = kTile + 8;

// `rows`: the terms of a row of A lie side by side, else the rows of a term do.
template <class Half, bool rows>
struct alignas(16) Stage {
  static constexpr int kLines = rows ? kTile : kDepth, kLength = rows ? kDepth : kTile;
  static constexpr int kPitch = rows ? kPitchOfRows : kPitchOfTerms;
  float a[kLines * kPitch];
  Half b[kDepth * kPitchOfHalves];
};

// Begins to copy kLines × kLength elements of a matrix, from (line, at) on; zeros where there are none of the `lines` or
// `length`. A vector that has some is copied whole.
template <int kLines, int kLength, int kPitch, class Element>
__device__ void begin_lines(const Element* matrix, int64_t stride, int64_t line, int64_t lines, int64_t at, int64_t length,
                            Element* to) {
  constexpr int kVector = Wide<Element>::kCount, kVectors = kLength / kVector;
  static_assert(kLines * kVectors % kThreads == 0, "all threads copy as much");
  SC_UNROLL
  for (int each = 0; each < kLines * kVectors / kThreads; ++each) {
    const int i = static_cast<int>(threadIdx.x) + each * kThreads, down = i / kVectors, across = i % kVectors * kVector;
    const bool exists = line + down < lines && at + across < length;
    begin_copy(to + down * kPitch + across, matrix + (exists ? (line + down) * stride + at + across : 0), exists);
  }
}

template <class Half, bool rows>
__device__ void begin_stage(const Product& p, int64_t m0, int64_t n0, int64_t k, Stage<Half, rows>* stage) {
  using Of = Stage<Half, rows>;
  if (k < p.K) {
    const float* const a = static_cast<const float*>(p.A.data);
    const Half* const b = static_cast<const Half*>(p.B.data);
    begin_lines<Of::kLines, Of::kLength, Of::kPitch>(a, p.A.stride, rows ? m0 : k, rows ? p.M : p.K, rows ? k : m0,
                                                     rows ? p.K : p.M, stage->a);
    begin_lines<kDepth, kTile, kPitchOfHalves>(b, p.B.stride, k, p.K, n0, p.N, stage->b);
  }
  end_copies();
}

// Of the warp's first element in a tile.
struct Place {
  int lane, row, column;

  __device__ Place()
      : lane(static_cast<int>(threadIdx.x) % kWarp),
        row(static_cast<int>(threadIdx.x) / kWarp / kWarpsAcross * kWarpRows),
        column(static_cast<int>(threadIdx.x) / kWarp % kWarpsAcross * kWarpColumns) {}
};

using Sums = float[kDown][kAcross][4];

// The terms of a slice are summed from 0: what the cores round towards 0 is small beside the sums of many slices.
template <class Half, bool rows>
__device__ void add_slice(const Stage<Half, rows>& stage, const Place& place, Sums& sums) {
  using Of = Stage<Half, rows>;
  const int lane = place.lane;
  SC_UNROLL
  for (int m = 0; m < kDown; ++m) {
    const int row = place.row + m * 16;
    const float* const a = stage.a + (rows ? row * Of::kPitch : row);
    const SplitA<Half> first(load_floats<rows>(a, Of::kPitch));
    const SplitA<Half> second(load_floats<rows>(a + 16 * (rows ? 1 : Of::kPitch), Of::kPitch));
    SC_UNROLL
    for (int n = 0; n < kAcross; n += 2) {
      FragmentB b[kSteps][2];
      SC_UNROLL
      for (int step = 0; step < kSteps; ++step) {
        unsigned pairs[4];
        load_transposed(stage.b + (step * 16 + lane % 16) * kPitchOfHalves + place.column + n * 8 + lane / 16 * 8, pairs);
        b[step][0] = {{pairs[0], pairs[1]}};
        b[step][1] = {{pairs[2], pairs[3]}};
      }
      SC_UNROLL
      for (int i = 0; i < 2; ++i) {
        float slice[4] = {};
        mma_split(slice, first, b[0][i]);
        mma_split(slice, second, b[1][i]);
        SC_UNROLL
        for (int j = 0; j < 4; ++j) sums[m][n + i][j] += slice[j];
      }
    }
  }
}

// `pairs`: every second element of every row of C lies at the alignment of two.
__device__ void store(const Product& p, int64_t m0, int64_t n0, bool pairs, const Place& place, const Sums& sums) {
  SC_UNROLL
  for (int m = 0; m < kDown; ++m) {
    SC_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int64_t row = m0 + place.row + m * 16 + half * 8 + place.lane / 4;
      if (row >= p.M) continue;
      SC_UNROLL
      for (int n = 0; n < kAcross; ++n) {
        const int64_t column = n0 + place.column + n * 8 + place.lane % 4 * 2;
        if (column >= p.N) continue;
        float* const to = p.C + row * p.stride + column;
        float2 sum = make_float2(sums[m][n][2 * half], sums[m][n][2 * half + 1]);
        if (pairs) {
          const float2 before = p.accumulate ? *reinterpret_cast<const float2*>(to) : make_float2(0.0f, 0.0f);
          if (p.accumulate) sum = make_float2(before.x + sum.x, before.y + sum.y);
          *reinterpret_cast<float2*>(to) = sum;
        } else {
          to[0] = p.accumulate ? to[0] + sum.x : sum.x;
          to[1] = p.accumulate ? to[1] + sum.y : sum.y;
        }
      }
    }
  }
}

template <class Half, bool rows>
__global__ void __launch_bounds__(kThreads, 1) multiply_split_tiles(Product p, bool pairs) {
  Stage<Half, rows>* const stages = dynamic_shared<Stage<Half, rows>>();
  const Place place;
  const int64_t m0 = int64_t{blockIdx.x} * kTile, n0 = int64_t{blockIdx.y} * kTile;
  for (int stage = 0; stage < kStages - 1; ++stage) begin_stage(p, m0, n0, int64_t{stage} * kDepth, stages + stage);
  Sums sums = {};
  int stage = 0;
  for (int64_t k = 0; k < p.K; k += kDepth) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // this stage is there for all, and the one before has been read by all
    begin_stage(p, m0, n0, k + (kStages - 1) * kDepth, stages + (stage + kStages - 1) % kStages);
    add_slice(stages[stage], place, sums);
    stage = (stage + 1) % kStages;
  }
  store(p, m0, n0, pairs, place, sums);
}

template <class Half, bool rows>
void enqueue(Queue& queue, const Product& p) {
  const auto kernel = multiply_split_tiles<Half, rows>;
  const size_t shared = kStages * sizeof(Stage<Half, rows>);
  ask_for_shared(kernel, shared);
  const dim3 blocks(static_cast<unsigned>(blocks_of(p.M, kTile)), static_cast<unsigned>(blocks_of(p.N, kTile)));
  const bool pairs = reinterpret_cast<uintptr_t>(p.C) % sizeof(float2) == 0 && p.stride % 2 == 0;
  launch(kernel, {blocks, kThreads, shared}, queue.stream, p, pairs);
}

}  // namespace

void multiply_split(Queue& queue, const Product& p) {
  if (p.M <= 0 || p.N <= 0) return;
  const bool rows = p.form == Form::kPlain;
  if (p.B.dtype == kBf16) {
    rows ? enqueue<Bf16, true>(queue, p) : enqueue<Bf16, false>(queue, p);
  } else {
    rows ? enqueue<F16, true>(queue, p) : enqueue<F16, false>(queue, p);
  }
}

}  // namespace gpu
