// A block makes a tile of 128 × 128 of C. Both operands come in slices of 32 terms, of which two are on their way while a third
// is multiplied. A warp has 32 × 64 of the tile: few rows, because every warp splits the rows that it multiplies itself.
//
// A product of few rows reads every weight once and waits for memory: a block has 32 columns, and its warps take the slices
// between them, from memory as they are. Their sums are added in the order of the slices, so the bits are those of a tile.

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

// Of either operand the terms of a row lie side by side, or the rows of a term do.
template <class Half, Form form>
struct alignas(16) Stage {
  static constexpr bool kRowsOfA = form != Form::kOverRows, kRowsOfB = form == Form::kOverColumns;
  static constexpr int kLinesOfA = kRowsOfA ? kTile : kDepth, kLengthOfA = kRowsOfA ? kDepth : kTile;
  static constexpr int kLinesOfB = kRowsOfB ? kTile : kDepth, kLengthOfB = kRowsOfB ? kDepth : kTile;
  static constexpr int kPitchOfA = kRowsOfA ? kPitchOfRows : kPitchOfTerms;
  static constexpr int kPitchOfB = kRowsOfB ? kPitchOfRows : kPitchOfHalves;
  float a[kLinesOfA * kPitchOfA];
  Half b[kLinesOfB * kPitchOfB];
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

template <class Half, Form form>
__device__ void begin_stage(const Product& p, int64_t m0, int64_t n0, int64_t k, Stage<Half, form>* stage) {
  using Of = Stage<Half, form>;
  constexpr bool kA = Of::kRowsOfA, kB = Of::kRowsOfB;
  if (k < p.K) {
    begin_lines<Of::kLinesOfA, Of::kLengthOfA, Of::kPitchOfA>(static_cast<const float*>(p.A.data), p.A.stride, kA ? m0 : k,
                                                              kA ? p.M : p.K, kA ? k : m0, kA ? p.K : p.M, stage->a);
    begin_lines<Of::kLinesOfB, Of::kLengthOfB, Of::kPitchOfB>(static_cast<const Half*>(p.B.data), p.B.stride, kB ? n0 : k,
                                                              kB ? p.N : p.K, kB ? k : n0, kB ? p.K : p.N, stage->b);
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
template <class Half>
__device__ void add_slice(const SplitA<Half>& first, const SplitA<Half>& second, const FragmentB (&b)[kSteps],
                          float (&sums)[4]) {
  float slice[4] = {};
  mma_split(slice, first, b[0]);
  mma_split(slice, second, b[1]);
  SC_UNROLL
  for (int j = 0; j < 4; ++j) sums[j] += slice[j];
}

template <class Half, Form form>
__device__ void add_stage(const Stage<Half, form>& stage, const Place& place, Sums& sums) {
  using Of = Stage<Half, form>;
  const int lane = place.lane;
  SC_UNROLL
  for (int m = 0; m < kDown; ++m) {
    const int row = place.row + m * 16;
    const float* const a = stage.a + (Of::kRowsOfA ? row * Of::kPitchOfA : row);
    const SplitA<Half> first(load_floats<Of::kRowsOfA>(a, Of::kPitchOfA));
    const SplitA<Half> second(load_floats<Of::kRowsOfA>(a + 16 * (Of::kRowsOfA ? 1 : Of::kPitchOfA), Of::kPitchOfA));
    SC_UNROLL
    for (int n = 0; n < kAcross; n += 2) {
      const int column = place.column + n * 8;
      FragmentB b[2][kSteps];
      SC_UNROLL
      for (int step = 0; step < kSteps; ++step) {
        unsigned pairs[4];
        if (Of::kRowsOfB) {
          load_matrices(stage.b + (column + lane / 16 * 8 + lane % 8) * Of::kPitchOfB + step * 16 + lane / 8 % 2 * 8, pairs);
        } else {
          load_transposed(stage.b + (step * 16 + lane % 16) * Of::kPitchOfB + column + lane / 16 * 8, pairs);
        }
        b[0][step] = {{pairs[0], pairs[1]}};
        b[1][step] = {{pairs[2], pairs[3]}};
      }
      SC_UNROLL
      for (int i = 0; i < 2; ++i) add_slice(first, second, b[i], sums[m][n + i]);
    }
  }
}

// What an element of C becomes.
__device__ float finished(const Product& p, int64_t column, float before, float sum) {
  if (p.accumulate) sum = before + sum;
  return p.bias ? sum + p.bias[column] : sum;
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
        const float first = sums[m][n][2 * half], second = sums[m][n][2 * half + 1];
        if (pairs) {
          const float2 before = p.accumulate ? *reinterpret_cast<const float2*>(to) : make_float2(0.0f, 0.0f);
          *reinterpret_cast<float2*>(to) =
              make_float2(finished(p, column, before.x, first), finished(p, column + 1, before.y, second));
        } else {
          to[0] = finished(p, column, p.accumulate ? to[0] : 0.0f, first);
          if (column + 1 < p.N) to[1] = finished(p, column + 1, p.accumulate ? to[1] : 0.0f, second);
        }
      }
    }
  }
}

template <class Half, Form form>
__global__ void __launch_bounds__(kThreads, 1) multiply_split_tiles(Product p, bool pairs) {
  Stage<Half, form>* const stages = dynamic_shared<Stage<Half, form>>();
  const Place place;
  const int64_t m0 = int64_t{blockIdx.x} * kTile, n0 = int64_t{blockIdx.y} * kTile;
  for (int stage = 0; stage < kStages - 1; ++stage) begin_stage(p, m0, n0, int64_t{stage} * kDepth, stages + stage);
  Sums sums = {};
  int stage = 0;
  for (int64_t k = 0; k < p.K; k += kDepth) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // this stage is there for all, and the one before has been read by all
    begin_stage(p, m0, n0, k + (kStages - 1) * kDepth, stages + (stage + kStages - 1) % kStages);
    add_stage(stages[stage], place, sums);
    stage = (stage + 1) % kStages;
  }
  store(p, m0, n0, pairs, place, sums);
}

template <class Half, Form form>
void enqueue(Queue& queue, const Product& p) {
  const auto kernel = multiply_split_tiles<Half, form>;
  const size_t shared = kStages * sizeof(Stage<Half, form>);
  ask_for_shared(kernel, shared);
  const dim3 blocks(static_cast<unsigned>(blocks_of(p.M, kTile)), static_cast<unsigned>(blocks_of(p.N, kTile)));
  const bool pairs = reinterpret_cast<uintptr_t>(p.C) % sizeof(float2) == 0 && p.stride % 2 == 0 && p.N % 2 == 0;
  launch(kernel, {blocks, kThreads, shared}, queue.stream, p, pairs);
}

// ── few rows, of kOverColumns

constexpr int kFewRows = 16, kFewColumns = 32;
constexpr int kSlicesEach = 2;  // of a warp at a time
constexpr int kSlices = kThreads / kWarp * kSlicesEach;
static_assert(kFewRows * kFewColumns == 2 * kThreads, "a thread has two elements of C");

// Terms k … k + 15 of all rows.
template <class Half>
__device__ SplitA<Half> load_few_rows(const Product& p, int64_t k) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  FloatsA terms;
  SC_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int64_t row = lane / 4 + i % 2 * 8, term = k + lane % 4 * 2 + i / 2 * 8;
    const float* const from = static_cast<const float*>(p.A.data) + row * p.A.stride + term;
    const float2 two = row < p.M && term < p.K ? *reinterpret_cast<const float2*>(from) : make_float2(0.0f, 0.0f);
    terms.of[i][0] = two.x;
    terms.of[i][1] = two.y;
  }
  return SplitA<Half>(terms);
}

// Terms k … k + 15 of eight columns.
template <class Half>
__device__ FragmentB load_columns(const Product& p, int64_t column, int64_t k) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Half* const from = static_cast<const Half*>(p.B.data) + (column + lane / 4) * p.B.stride + k + lane % 4 * 2;
  const auto pair = [&](int at) {
    return column + lane / 4 < p.N && k + lane % 4 * 2 + at < p.K ? *reinterpret_cast<const unsigned*>(from + at) : 0u;
  };
  return {{pair(0), pair(8)}};
}

template <class Half>
__global__ void __launch_bounds__(kThreads, 2) multiply_split_few_rows(Product p) {
  __shared__ float slices[kSlices][kFewRows][kFewColumns + 4];
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t n0 = int64_t{blockIdx.x} * kFewColumns;
  const int row = static_cast<int>(threadIdx.x) * 2 / kFewColumns, column = static_cast<int>(threadIdx.x) * 2 % kFewColumns;
  float sums[2] = {};
  for (int64_t begin = 0; begin < p.K; begin += kSlices * kDepth) {
    SC_UNROLL
    for (int each = 0; each < kSlicesEach; ++each) {
      const int slice = warp * kSlicesEach + each;
      const int64_t k = begin + slice * kDepth;
      if (k >= p.K) continue;
      const SplitA<Half> first = load_few_rows<Half>(p, k), second = load_few_rows<Half>(p, k + 16);
      SC_UNROLL
      for (int n = 0; n < kFewColumns; n += 8) {
        const FragmentB b[kSteps] = {load_columns<Half>(p, n0 + n, k), load_columns<Half>(p, n0 + n, k + 16)};
        float of_slice[4] = {};
        add_slice(first, second, b, of_slice);
        SC_UNROLL
        for (int j = 0; j < 4; ++j) slices[slice][lane / 4 + j / 2 * 8][n + lane % 4 * 2 + j % 2] = of_slice[j];
      }
    }
    __syncthreads();
    for (int slice = 0; slice < kSlices && begin + slice * kDepth < p.K; ++slice) {
      sums[0] += slices[slice][row][column];
      sums[1] += slices[slice][row][column + 1];
    }
    __syncthreads();  // the slices have been read
  }
  float* const to = p.C + row * p.stride + n0 + column;
  SC_UNROLL
  for (int i = 0; i < 2; ++i)
    if (row < p.M && n0 + column + i < p.N) to[i] = finished(p, n0 + column + i, p.accumulate ? to[i] : 0.0f, sums[i]);
}

template <class Half>
void enqueue(Queue& queue, const Product& p) {
  if (p.form == Form::kPlain) {
    enqueue<Half, Form::kPlain>(queue, p);
  } else if (p.form == Form::kOverRows) {
    enqueue<Half, Form::kOverRows>(queue, p);
  } else if (p.M > kFewRows) {
    enqueue<Half, Form::kOverColumns>(queue, p);
  } else {
    launch(multiply_split_few_rows<Half>, {static_cast<unsigned>(blocks_of(p.N, kFewColumns)), kThreads}, queue.stream, p);
  }
}

}  // namespace

bool takes_split(const Product& p) {
  const auto lies_in_vectors = [](const Matrix& matrix, int64_t size) {
    return reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0 && matrix.stride % (16 / size) == 0;
  };
  if (p.portable || p.A.dtype != kF32 || p.B.dtype == kF32 || p.form == Form::kOverRows) return false;
  const bool whole = p.form == Form::kPlain ? p.K % 4 == 0 && p.N % 8 == 0 : p.K % 8 == 0;
  return whole && lies_in_vectors(p.A, sizeof(float)) && lies_in_vectors(p.B, sizeof(Bf16));
}

void multiply_split(Queue& queue, const Product& p) {
  if (p.M <= 0 || p.N <= 0) return;
  p.B.dtype == kBf16 ? enqueue<Bf16>(queue, p) : enqueue<F16>(queue, p);
}

}  // namespace gpu
