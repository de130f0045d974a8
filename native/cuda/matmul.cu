// The tiled product. A block of 16 × 16 threads makes a tile of C: 8 terms of both operands at a time lie in shared memory,
// the terms first, while the next 8 are on their way in registers; each thread keeps its part of C in registers. After 256
// terms the sums are added to C in memory, which bounds their error and gives products of all tile sizes the same bits.
//
// Tiles of 128 × 128 where there are enough of them to occupy the device, else 64 × 64, and 16 × 64 for few rows; few rows of
// a product over columns, as in decoding, have a kernel of their own.

#include <math.h>

#include "block.cuh"
#include "cublaslt.cuh"
#include "launch.cuh"
#include "matmul.cuh"
#include "quad.cuh"
#include "split_products.cuh"
#include "unroll.cuh"

namespace gpu {

namespace {

constexpr int kSide = 16;
constexpr int kThreads = kSide * kSide;
constexpr int kStep = 8;
constexpr int kDepth = 256;
static_assert(kDepth % kStep == 0 && kStep % kQuad == 0, "a block of terms is a whole number of steps");

// Terms [kStep] × rows or columns of an operand. The gap keeps quads aligned and shifts the banks from term to term.
template <int kWidth>
struct Tile {
  float of[kStep][kWidth + kQuad];
};

// The rows of A' or columns of B' that a block multiplies, on their way from memory to a tile. kTermsTogether: the terms of a
// row lie side by side; else the rows of a term do.
template <class Element, bool kTermsTogether, int kWidth>
struct Strip {
  static constexpr int kQuads = kWidth * kStep / kQuad;
  static constexpr int kEach = (kQuads + kThreads - 1) / kThreads;
  const Element* data;
  int64_t stride, first, width;
  bool wide;
  Quad staged[kEach];

  __device__ Strip(const Matrix& matrix, int64_t first_row, int64_t rows, bool in_quads)
      : data(static_cast<const Element*>(matrix.data)), stride(matrix.stride), first(first_row), width(rows), wide(in_quads) {}

  // Which quad of a tile the thread takes as its i-th; whether there is one.
  __device__ static bool place(int i, int* term, int* row) {
    const int quad = static_cast<int>(threadIdx.x) + i * kThreads;
    constexpr int kAcross = (kTermsTogether ? kStep : kWidth) / kQuad;
    *term = kTermsTogether ? quad % kAcross * kQuad : quad / kAcross;
    *row = kTermsTogether ? quad / kAcross : quad % kAcross * kQuad;
    return kQuads % kThreads == 0 || quad < kQuads;
  }

  // Terms k … k + kStep; what is beyond `end` or the width counts as 0.
  __device__ void fetch(int64_t k, int64_t end) {
    SC_UNROLL
    for (int i = 0; i < kEach; ++i) {
      int term, row;
      if (!place(i, &term, &row)) continue;
      const int64_t rows = width - (first + row), terms = end - (k + term);
      const int64_t count = kTermsTogether ? (rows > 0 ? terms : 0) : (terms > 0 ? rows : 0);
      const int64_t at = kTermsTogether ? (first + row) * stride + k + term : (k + term) * stride + first + row;
      staged[i] = load_quad(data + at, count, wide);
    }
  }

  __device__ void put(Tile<kWidth>* tile) const {
    SC_UNROLL
    for (int i = 0; i < kEach; ++i) {
      int term, row;
      if (!place(i, &term, &row)) continue;
      if (kTermsTogether) {
        SC_UNROLL
        for (int j = 0; j < kQuad; ++j) tile->of[term + j][row] = staged[i].of[j];
      } else {
        store_quad(&tile->of[term][row], staged[i], kQuad, true);
      }
    }
  }
};

// The kCount rows or columns of a tile that one of 16 threads works on: groups of four side by side, which are read together.
template <int kCount>
struct Share {
  static constexpr int kGroup = kCount < kQuad ? kCount : kQuad;
  float of[kCount];

  __device__ static int index(int thread, int i) { return i / kGroup * (kSide * kGroup) + thread * kGroup + i % kGroup; }

  __device__ void read(const float* terms, int thread) {
    SC_UNROLL
    for (int i = 0; i < kCount; i += kGroup) {
      const float* from = terms + index(thread, i);
      if (kGroup == kQuad) {
        const Quad quad = quads::whole(from);
        SC_UNROLL
        for (int j = 0; j < kQuad; ++j) of[i + j] = quad.of[j];
      } else {
        SC_UNROLL
        for (int j = 0; j < kGroup; ++j) of[i + j] = from[j];
      }
    }
  }
};

struct TileProduct {
  Product product;
  bool wide_a, wide_b, wide_c;
  int64_t per_segment;  // terms; segment z writes to C + z · M · N
};

template <int kRows, int kColumns>
struct Sums {
  static constexpr int kMine = kRows / kSide, kMyColumns = kColumns / kSide;
  using Rows = Share<kMine>;
  using Columns = Share<kMyColumns>;
  float of[kMine][kMyColumns];

  __device__ void clear() {
    SC_UNROLL
    for (int i = 0; i < kMine; ++i) {
      SC_UNROLL
      for (int j = 0; j < kMyColumns; ++j) of[i][j] = 0.0f;
    }
  }

  __device__ void add(const Tile<kRows>& a, const Tile<kColumns>& b, int y, int x) {
    SC_UNROLL
    for (int k = 0; k < kStep; ++k) {
      Rows rows;
      Columns columns;
      rows.read(a.of[k], y);
      columns.read(b.of[k], x);
      SC_UNROLL
      for (int i = 0; i < kMine; ++i) {
        SC_UNROLL
        for (int j = 0; j < kMyColumns; ++j) of[i][j] = fmaf(rows.of[i], columns.of[j], of[i][j]);
      }
    }
  }

  // To C, of which the tile begins at (m0, n0).
  __device__ void store(const TileProduct& args, float* C, int64_t m0, int64_t n0, bool add, const float* bias, int y,
                        int x) const {
    const Product& p = args.product;
    SC_UNROLL
    for (int i = 0; i < kMine; ++i) {
      const int64_t m = m0 + Rows::index(y, i);
      if (m >= p.M) continue;
      SC_UNROLL
      for (int j = 0; j < kMyColumns; j += kQuad) {
        const int64_t n = n0 + Columns::index(x, j), count = p.N - n;
        float* const to = C + m * p.stride + n;
        const Quad before = load_quad(to, add ? count : 0, args.wide_c);
        const Quad shift = load_quad(bias ? bias + n : to, bias ? count : 0, false);
        Quad sum;
        SC_UNROLL
        for (int q = 0; q < kQuad; ++q) {
          sum.of[q] = of[i][j + q];
          if (add) sum.of[q] = before.of[q] + sum.of[q];
          if (bias) sum.of[q] += shift.of[q];
        }
        store_quad(to, sum, count, args.wide_c);
      }
    }
  }
};

template <int kRows, int kColumns, class A, bool kTermsOfA, class B, bool kTermsOfB>
__global__ void __launch_bounds__(kThreads, 2) multiply_tiles(TileProduct args) {
  const Product& p = args.product;
  __shared__ Tile<kRows> a[2];
  __shared__ Tile<kColumns> b[2];
  const int x = static_cast<int>(threadIdx.x) % kSide, y = static_cast<int>(threadIdx.x) / kSide;
  const int64_t m0 = static_cast<int64_t>(blockIdx.x) * kRows, n0 = static_cast<int64_t>(blockIdx.y) * kColumns;
  const int64_t segment = blockIdx.z, begin = segment * args.per_segment;
  const int64_t end = begin + args.per_segment < p.K ? begin + args.per_segment : p.K;
  float* const C = p.C + segment * p.M * p.N;

  Strip<A, kTermsOfA, kRows> rows(p.A, m0, p.M, args.wide_a);
  Strip<B, kTermsOfB, kColumns> columns(p.B, n0, p.N, args.wide_b);
  rows.fetch(begin, end);
  columns.fetch(begin, end);
  rows.put(&a[0]);
  columns.put(&b[0]);
  __syncthreads();

  Sums<kRows, kColumns> sums;
  sums.clear();
  int half = 0;
  for (int64_t k = begin; k < end || k == begin; k += kStep) {
    const bool more = k + kStep < end;
    if (more) {
      rows.fetch(k + kStep, end);
      columns.fetch(k + kStep, end);
    }
    sums.add(a[half], b[half], y, x);
    if (!more || (k + kStep - begin) % kDepth == 0) {
      const bool add = p.accumulate || k - begin >= kDepth;
      sums.store(args, C, m0, n0, add, more ? nullptr : p.bias, y, x);
      sums.clear();
    }
    half = 1 - half;
    if (more) {
      rows.put(&a[half]);
      columns.put(&b[half]);
    }
    __syncthreads();
  }
}

// C (+)= Σ of the segments' sums.
__global__ void add_segments(Product p, const float* sums, int64_t segments) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= p.M * p.N) return;
  float sum = sums[i];
  for (int64_t segment = 1; segment < segments; ++segment) sum += sums[segment * p.M * p.N + i];
  float* const to = p.C + i / p.N * p.stride + i % p.N;
  *to = p.accumulate ? *to + sum : sum;
}

// ── few rows, as in decoding
//
// Such a product reads every weight once and waits for memory: a block has few columns, and its warps take the blocks of
// kDepth terms between them, each with tiles of its own. Their sums are added in the order of the terms, so the bits are those
// of the tiles above.

constexpr int kFewRows = 16;
constexpr int kFewColumns = 16;
constexpr int kWarps = kThreads / kWarp;
constexpr int kWarpStep = 32;
constexpr int kLaneRows = kFewRows * kFewColumns / kWarp;
static_assert(kFewRows * kFewColumns == kThreads && kFewRows == kFewColumns, "a thread has an element of C");

// kWarpStep terms of kFewRows rows of an operand on their way from memory to a tile of a warp.
template <class Element>
struct WarpStrip {
  static constexpr int kAcross = kWarpStep / kQuad, kEach = kFewRows * kAcross / kWarp;
  const Element* data;
  int64_t stride, first, width;
  bool wide;
  Quad staged[kEach];

  __device__ WarpStrip(const Matrix& matrix, int64_t first_row, int64_t rows, bool in_quads)
      : data(static_cast<const Element*>(matrix.data)), stride(matrix.stride), first(first_row), width(rows), wide(in_quads) {}

  __device__ static int row(int i) { return (static_cast<int>(threadIdx.x) % kWarp + i * kWarp) / kAcross; }
  __device__ static int term() { return static_cast<int>(threadIdx.x) % kAcross * kQuad; }

  __device__ void fetch(int64_t k, int64_t end) {
    SC_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int64_t at = first + row(i);
      staged[i] = load_quad(data + at * stride + k + term(), at < width ? end - k - term() : 0, wide);
    }
  }

  template <int kStride>
  __device__ void put(float (&tile)[kWarpStep][kStride]) const {
    SC_UNROLL
    for (int i = 0; i < kEach; ++i) {
      SC_UNROLL
      for (int j = 0; j < kQuad; ++j) tile[term() + j][row(i)] = staged[i].of[j];
    }
  }
};

struct WarpTiles {
  float a[kWarpStep][kFewRows + kQuad];
  float b[kWarpStep][kFewColumns + 1];
};

// Adds terms k … k + kWarpStep, as far as there are steps of them before `end`.
__device__ inline void add_terms(const WarpTiles& tiles, int64_t k, int64_t end, float (&sums)[kLaneRows]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, column = lane % kFewColumns, row = lane / kFewColumns * kLaneRows;
  for (int step = 0; step < kWarpStep && k + step < end; step += kStep) {
    SC_UNROLL
    for (int term = step; term < step + kStep; ++term) {
      const float b = tiles.b[term][column];
      SC_UNROLL
      for (int i = 0; i < kLaneRows; i += kQuad) {
        const Quad a = quads::whole(&tiles.a[term][row + i]);
        SC_UNROLL
        for (int q = 0; q < kQuad; ++q) sums[i + q] = fmaf(a.of[q], b, sums[i + q]);
      }
    }
  }
}

template <class A, class B>
__global__ void __launch_bounds__(kThreads, 2) multiply_few_rows(TileProduct args) {
  const Product& p = args.product;
  __shared__ WarpTiles tiles[kWarps];
  __shared__ float of_warp[kWarps][kThreads];
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t n0 = static_cast<int64_t>(blockIdx.x) * kFewColumns, chunks = p.K > 0 ? (p.K + kDepth - 1) / kDepth : 1;
  WarpTiles& mine = tiles[warp];
  WarpStrip<A> rows(p.A, 0, p.M, args.wide_a);
  WarpStrip<B> columns(p.B, n0, p.N, args.wide_b);

  const int64_t m = threadIdx.x / kFewColumns, n = n0 + threadIdx.x % kFewColumns;
  const bool exists = m < p.M && n < p.N;
  bool add = p.accumulate;
  float total = exists && add ? p.C[m * p.stride + n] : 0.0f;
  for (int64_t first = 0; first < chunks; first += kWarps) {
    const int64_t begin = (first + warp) * kDepth, end = begin + kDepth < p.K ? begin + kDepth : p.K;
    float sums[kLaneRows] = {};
    if (begin < end) {
      rows.fetch(begin, end);
      columns.fetch(begin, end);
    }
    for (int64_t k = begin; k < end; k += kWarpStep) {
      __syncwarp();  // the tiles have been read
      rows.put(mine.a);
      columns.put(mine.b);
      __syncwarp();
      if (k + kWarpStep < end) {
        rows.fetch(k + kWarpStep, end);
        columns.fetch(k + kWarpStep, end);
      }
      add_terms(mine, k, end, sums);
    }
    SC_UNROLL
    for (int i = 0; i < kLaneRows; ++i)
      of_warp[warp][(lane / kFewColumns * kLaneRows + i) * kFewColumns + lane % kFewColumns] = sums[i];
    __syncthreads();
    for (int w = 0; w < kWarps && first + w < chunks; ++w) {
      total = add ? total + of_warp[w][threadIdx.x] : of_warp[w][threadIdx.x];
      add = true;
    }
    __syncthreads();  // the sums have been read
  }
  if (exists) p.C[m * p.stride + n] = p.bias ? total + p.bias[n] : total;
}

// ── which kernel

constexpr int64_t kLargeTile = 128;
constexpr int64_t kSmallTile = 64;

template <class A, bool kTermsOfA, class B, bool kTermsOfB>
void launch_tiles(Queue& queue, const TileProduct& args, int64_t segments) {
  const Product& p = args.product;
  const auto blocks = [&](int64_t rows, int64_t columns) {
    return dim3(static_cast<unsigned>(blocks_of(p.M, rows)), static_cast<unsigned>(blocks_of(p.N, columns)),
                static_cast<unsigned>(segments));
  };
  if (p.M <= kFewRows) {
    if constexpr (kTermsOfB) {
      launch(multiply_few_rows<A, B>, {static_cast<unsigned>(blocks_of(p.N, kFewColumns)), kThreads}, queue.stream, args);
    } else {
      launch(multiply_tiles<kFewRows, kSmallTile, A, kTermsOfA, B, kTermsOfB>, {blocks(kFewRows, kSmallTile), kThreads},
             queue.stream, args);
    }
  } else if (blocks_of(p.M, kLargeTile) * blocks_of(p.N, kLargeTile) * segments < queue.multiprocessors) {
    launch(multiply_tiles<kSmallTile, kSmallTile, A, kTermsOfA, B, kTermsOfB>, {blocks(kSmallTile, kSmallTile), kThreads},
           queue.stream, args);
  } else {
    launch(multiply_tiles<kLargeTile, kLargeTile, A, kTermsOfA, B, kTermsOfB>, {blocks(kLargeTile, kLargeTile), kThreads},
           queue.stream, args);
  }
}

void multiply_by_tiles(Queue& queue, const Product& p, int64_t per_segment, int64_t segments) {
  with_element(p.B.dtype, [&](auto type) {
    using B = typename decltype(type)::Element;
    TileProduct args = {p, lies_in_quads(static_cast<const float*>(p.A.data), p.A.stride),
                        lies_in_quads(static_cast<const B*>(p.B.data), p.B.stride), lies_in_quads(p.C, p.stride), per_segment};
    if (p.form == Form::kPlain) {
      launch_tiles<float, true, B, false>(queue, args, segments);
    } else if (p.form == Form::kOverRows) {
      launch_tiles<float, false, B, false>(queue, args, segments);
    } else if (p.A.dtype == kF32) {
      launch_tiles<float, true, B, true>(queue, args, segments);
    } else {
      args.wide_a = lies_in_quads(static_cast<const B*>(p.A.data), p.A.stride);
      launch_tiles<B, true, B, true>(queue, args, segments);
    }
  });
}

// Segments of a product over rows: as many as bring it to this many tiles, none shorter than kSegmentDepth.
constexpr int64_t kTilesWanted = 128;
constexpr int64_t kSegmentDepth = 1024;

int64_t terms_per_segment(const Product& p) {
  if (p.form != Form::kOverRows || p.K <= kSegmentDepth) return p.K > 0 ? p.K : 1;
  const int64_t tiles = blocks_of(p.M, kLargeTile) * blocks_of(p.N, kLargeTile);
  const int64_t most = tiles < kTilesWanted ? kTilesWanted / tiles : 1, wanted = blocks_of(p.K, kSegmentDepth);
  return blocks_of(blocks_of(p.K, wanted < most ? wanted : most), kDepth) * kDepth;
}

int64_t segments_of(const Product& p) { return p.K > 0 ? blocks_of(p.K, terms_per_segment(p)) : 1; }

}  // namespace

size_t multiply_bytes(const Product& p) {
  if (p.M <= 0 || p.N <= 0) return 0;
  const int64_t segments = segments_of(p);
  const size_t own = segments > 1 ? static_cast<size_t>(segments * p.M * p.N) * sizeof(float) : 0;
  const size_t others = p.portable ? 0 : cublaslt_bytes();
  return ((own > others ? own : others) + 255) / 256 * 256;
}

void multiply(Queue& queue, const Product& p, void* memory) {
  if (p.M <= 0 || p.N <= 0) return;
  if (takes_split(p)) return multiply_split(queue, p);
  if (!p.portable && cublaslt_multiply(queue, p, memory)) return;
  const int64_t segments = segments_of(p);
  if (segments == 1) return multiply_by_tiles(queue, p, terms_per_segment(p), 1);
  Product apart = p;
  apart.C = static_cast<float*>(memory);
  apart.stride = p.N;
  apart.accumulate = false;
  multiply_by_tiles(queue, apart, terms_per_segment(p), segments);
  launch(add_segments, {static_cast<unsigned>(blocks_of(p.M * p.N, kThreads)), kThreads}, queue.stream, p,
         static_cast<const float*>(memory), segments);
}

}  // namespace gpu
