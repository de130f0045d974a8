// A tile of attention: up to 64 lines, for which a block sums, against 64 steps at a time, over which it sums. Forward and for
// dq the lines are query rows and the steps keys; for dk and dv it is the other way round.
//
// Both products of a tile are on tensor cores (split_mma.cuh). A warp has 16 lines with all steps: the products of lines and
// steps become weights in the registers that they are in, which are those that the product of weights and rows wants. Rows of
// steps are staged 64 columns at a time, split; each warp splits its own lines.
//
// Order      16 terms at a time on the cores, from 0; the sums of those in order, in f32: over d for the products of lines
//            and steps, over the steps for what is weighed. A line has weight 0 of what it does not see, so that how lines and
//            steps are put into tiles changes no bit of a line.

#ifndef STEPCREDIT_CUDA_ATTENTION_TILE_CUH
#define STEPCREDIT_CUDA_ATTENTION_TILE_CUH

#include <math.h>
#include <stdint.h>

#include "block.cuh"
#include "split_mma.cuh"

namespace gpu {

constexpr int kTile = 64;  // lines of a block; steps, and columns of D, of a stage
constexpr int kWarpLines = 16;
constexpr int kTileThreads = kTile / kWarpLines * kWarp;
constexpr int kAcross = kTile / 8;  // products of a warp, side by side
constexpr int kDepth = 16;          // terms that are summed on the cores
constexpr int kStagePitch = kTile + 8;

// The weight of a step that a line does not see: nothing that is computed gives −0.
constexpr float kUnseen = -0.0f;
__device__ inline bool is_seen(float weight) { return __float_as_uint(weight) != 0x80000000u; }
__device__ inline float seen_weight(float weight) { return weight == 0.0f ? 0.0f : weight; }

struct alignas(16) Tile {
  union {
    Bf16 terms[3][kTile * kStagePitch];  // [step][column] of 64 columns of the steps' rows
    float weights[kTile][kTile];         // [step][line]; what the terms leave out needs them
  };
  int64_t steps[kTile];  // where the row of a step begins, in elements; −1: there is none
};

// The rows that tiles are made of: D numbers each; `wide`: all of them lie at multiples of 16 bytes.
struct RowForm {
  int D;
  bool wide;
};

// What a lane has of a tile: of lines line_of(0) and line_of(1) the steps step_of(n, 0) and step_of(n, 1) of every eight, as
// products[n][2u + i]; of the sums, columns instead of steps.
template <int kCount>
using ProductsOf = float[kCount][4];
using Products = ProductsOf<kAcross>;
__device__ inline int first_line() { return static_cast<int>(threadIdx.x) / kWarp * kWarpLines; }
__device__ inline int line_of(int u) { return first_line() + static_cast<int>(threadIdx.x) % kWarp / 4 + 8 * u; }
__device__ inline int step_of(int n, int i) { return n * 8 + static_cast<int>(threadIdx.x) % 4 * 2 + i; }

// body(product, n, u, i) for all products of a lane.
template <int kCount, class Body>
__device__ inline void each_product(ProductsOf<kCount>& products, const Body& body) {
  SC_UNROLL
  for (int n = 0; n < kCount; ++n) {
    SC_UNROLL
    for (int u = 0; u < 2; ++u) {
      SC_UNROLL
      for (int i = 0; i < 2; ++i) body(products[n][2 * u + i], n, u, i);
    }
  }
}

template <int kCount>
__device__ inline void clear(ProductsOf<kCount>& products) {
  each_product<kCount>(products, [](float& product, int, int, int) { product = 0.0f; });
}

// Numbers d … d + 3 of a row, 0 beyond its end.
__device__ inline float4 load_four(const float* row, int d, RowForm form) {
  if (d >= form.D) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (form.wide) return *reinterpret_cast<const float4*>(row + d);
  const int left = form.D - d;
  return make_float4(row[d], left > 1 ? row[d + 1] : 0.0f, left > 2 ? row[d + 2] : 0.0f, left > 3 ? row[d + 3] : 0.0f);
}

// Numbers d and d + 1; d is even.
__device__ inline float2 load_two(const float* row, int d, RowForm form) {
  if (d >= form.D) return make_float2(0.0f, 0.0f);
  if (form.wide) return *reinterpret_cast<const float2*>(row + d);
  return make_float2(row[d], d + 1 < form.D ? row[d + 1] : 0.0f);
}
__device__ inline void store_two(float* row, int d, RowForm form, float2 two) {
  if (d >= form.D) return;
  if (form.wide) {
    *reinterpret_cast<float2*>(row + d) = two;
    return;
  }
  row[d] = two.x;
  if (d + 1 < form.D) row[d + 1] = two.y;
}

// Where the rows of the lane's lines begin, in elements; −1: there is none.
using Lines = int64_t[2];

// Terms d … d + 15 of the warp's lines.
__device__ inline SplitA<Bf16> load_lines(const float* matrix, const Lines& lines, int d, RowForm form) {
  FloatsA terms;
  SC_UNROLL
  for (int p = 0; p < 4; ++p) {
    const int64_t line = lines[p % 2];
    const float2 two = line < 0 ? make_float2(0.0f, 0.0f) : load_two(matrix + line, d + step_of(p / 2, 0), form);
    terms.of[p][0] = two.x;
    terms.of[p][1] = two.y;
  }
  return SplitA<Bf16>(terms);
}

__device__ inline bool is_finite(float x) { return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u; }

// Stages columns d … d + 63 of the steps' rows. kFinite: with 0 for what is no finite number; whether there was any, in all
// threads.
template <bool kFinite>
__device__ inline bool stage_rows(const float* rows, int d, RowForm form, Tile* tile) {
  constexpr int kPerRow = kTile / 4;
  const int column = static_cast<int>(threadIdx.x) % kPerRow * 4;
  bool odd = false;
  __syncthreads();  // the steps are there, and the stage before has been read
  SC_UNROLL
  for (int step = static_cast<int>(threadIdx.x) / kPerRow; step < kTile; step += kTileThreads / kPerRow) {
    const int64_t at = tile->steps[step];
    const float4 four = at < 0 ? make_float4(0.0f, 0.0f, 0.0f, 0.0f) : load_four(rows + at, d + column, form);
    float x[4] = {four.x, four.y, four.z, four.w};
    if (kFinite) {
      SC_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (is_finite(x[i])) continue;
        x[i] = 0.0f;
        odd = true;
      }
    }
    SC_UNROLL
    for (int term = 0; term < 3; ++term) {
      const uint2 pairs = {take_bf16_pair(&x[0], &x[1]), take_bf16_pair(&x[2], &x[3])};
      *reinterpret_cast<uint2*>(tile->terms[term] + step * kStagePitch + column) = pairs;
    }
  }
  if (kFinite) return __syncthreads_or(odd) != 0;
  __syncthreads();
  return false;
}

// Two fragments of B, side by side, of 16 of its terms: of the stage from (step, column) on. kOverSteps: columns of the stage
// are rows of B, and its steps the terms; else the other way round.
template <bool kOverSteps>
__device__ inline void load_stage(const Tile& tile, int step, int column, SplitB* first, SplitB* second) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int down = kOverSteps ? lane % 16 : lane / 16 * 8 + lane % 8, across = kOverSteps ? lane / 16 * 8 : lane / 8 % 2 * 8;
  SC_UNROLL
  for (int term = 0; term < 3; ++term) {
    const Bf16* const from = tile.terms[term] + (step + down) * kStagePitch + column + across;
    unsigned pairs[4];
    if (kOverSteps) {
      load_transposed(from, pairs);
    } else {
      load_matrices(from, pairs);
    }
    first->terms[term] = {{pairs[0], pairs[1]}};
    second->terms[term] = {{pairs[2], pairs[3]}};
  }
}

// products[n] += Σ A · Bᵀ over kDepth terms; B of the stage: its terms from `term` on, its rows from `from` on, as far as eight
// of them begin below `count`.
template <bool kOverSteps, int kCount>
__device__ inline void add_depth(const SplitA<Bf16>& a, const Tile& tile, int term, int from, int count,
                                 ProductsOf<kCount>& products) {
  SC_UNROLL
  for (int n = 0; n < kCount; n += 2) {
    const int row = from + n * 8;
    if (row >= count) continue;
    SplitB b[2];
    load_stage<kOverSteps>(tile, kOverSteps ? term : row, kOverSteps ? row : term, &b[0], &b[1]);
    SC_UNROLL
    for (int i = 0; i < 2; ++i) {
      float sums[4] = {};
      mma_split(sums, a, b[i]);
      SC_UNROLL
      for (int j = 0; j < 4; ++j) products[n + i][j] += sums[j];
    }
  }
}

// dots = Σ_d x[line][d] · y[step][d] of the steps from `from` on, of which the first `count` exist; `busy`: whether the warp
// has any lines.
template <int kCount>
__device__ inline void dot_tile(const float* x, const Lines& lines, bool busy, const float* y, int from, int count,
                                RowForm form, Tile* tile, ProductsOf<kCount>& dots) {
  clear<kCount>(dots);
  for (int first = 0; first < form.D; first += kTile) {
    stage_rows<false>(y, first, form, tile);
    for (int d = 0; busy && d < kTile && first + d < form.D; d += kDepth)
      add_depth<false, kCount>(load_lines(x, lines, first + d, form), *tile, d, from, count, dots);
  }
}

// Weights of 16 steps from 8n on, as terms.
__device__ inline SplitA<Bf16> weights_of(const Products& weights, int n) {
  FloatsA terms;
  SC_UNROLL
  for (int p = 0; p < 4; ++p) {
    terms.of[p][0] = weights[n + p / 2][p % 2 * 2];
    terms.of[p][1] = weights[n + p / 2][p % 2 * 2 + 1];
  }
  return SplitA<Bf16>(terms);
}

// What of the steps' rows is no finite number, weighed by the lines that see it.
template <int kCount>
__device__ inline void weigh_odd(Products& weights, const float* rows, int first, int count, RowForm form, Tile* tile,
                                 ProductsOf<kCount>& sums) {
  __syncthreads();  // the stage has been read
  each_product<kAcross>(weights, [&](float weight, int n, int u, int i) { tile->weights[step_of(n, i)][line_of(u)] = weight; });
  __syncwarp();
  for (int step = 0; step < count; ++step) {
    const float* const row = rows + tile->steps[step];
    each_product<kCount>(sums, [&](float& sum, int n, int u, int i) {
      const float weight = tile->weights[step][line_of(u)];
      const int d = first + step_of(n, i);
      if (d < form.D && is_seen(weight) && !is_finite(row[d])) sum = fmaf(weight, row[d], sum);
    });
  }
}

// sums += Σ_step weights[line][step] · rows[step][column] over the first `count` steps; the stage has the columns from `first`
// on, the warp those from first + from on.
template <int kCount>
__device__ inline void weigh_tile(Products& weights, bool busy, const float* rows, int first, int from, int count, RowForm form,
                                  Tile* tile, ProductsOf<kCount>& sums) {
  const bool odd = stage_rows<true>(rows, first, form, tile);
  SC_UNROLL
  for (int step = 0; step < kTile; step += kDepth) {
    if (busy && step < count) add_depth<true, kCount>(weights_of(weights, step / 8), *tile, step, from, form.D - first, sums);
  }
  if (odd) weigh_odd<kCount>(weights, rows, first + from, count, form, tile, sums);
}

// The sums of the lane's lines: of every 64 columns the warp's own, which are 8 · kCount from `from` on.
template <int kColumnTiles, int kCount = kAcross>
struct LineSums {
  ProductsOf<kCount> of[kColumnTiles];

  __device__ void reset() {
    SC_UNROLL
    for (int c = 0; c < kColumnTiles; ++c) clear<kCount>(of[c]);
  }
  __device__ void scale(int u, float factor) {
    SC_UNROLL
    for (int c = 0; c < kColumnTiles; ++c) {
      SC_UNROLL
      for (int n = 0; n < kCount; ++n) {
        of[c][n][2 * u] *= factor;
        of[c][n][2 * u + 1] *= factor;
      }
    }
  }
  // Columns first … first + 64 · kColumnTiles − 1 of D.
  __device__ void add(Products& weights, bool busy, const float* rows, int first, int from, int count, RowForm form,
                      Tile* tile) {
    SC_UNROLL
    for (int c = 0; c < kColumnTiles; ++c)
      if (first + c * kTile < form.D)
        weigh_tile<kCount>(weights, busy, rows, first + c * kTile, from, count, form, tile, of[c]);
  }
  // body(d, sums of columns d and d + 1) for line u.
  template <class Body>
  __device__ void each_two(int u, int first, const Body& body) const {
    SC_UNROLL
    for (int c = 0; c < kColumnTiles; ++c) {
      SC_UNROLL
      for (int n = 0; n < kCount; ++n)
        body(first + c * kTile + step_of(n, 0), make_float2(of[c][n][2 * u], of[c][n][2 * u + 1]));
    }
  }
  __device__ void store(float* to, const Lines& lines, int first, RowForm form) const {
    SC_UNROLL
    for (int u = 0; u < 2; ++u)
      if (lines[u] >= 0) each_two(u, first, [&](int d, float2 two) { store_two(to + lines[u], d, form, two); });
  }
};

}  // namespace gpu

#endif
