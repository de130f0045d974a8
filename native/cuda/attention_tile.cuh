// A tile of attention: up to 64 lines, for which a block sums, against 64 steps at a time, over which it sums. Forward and for
// dq the lines are query rows and the steps keys; for dk and dv it is the other way round.
//
// Every dot product is one chain of fma over d, every sum one chain of fma over the steps, in order. What a line does not see
// enters no sum, so that how lines and steps are put into tiles changes no bit of a line.

#ifndef STEPCREDIT_CUDA_ATTENTION_TILE_CUH
#define STEPCREDIT_CUDA_ATTENTION_TILE_CUH

#include <math.h>
#include <stdint.h>

#include "block.cuh"

namespace gpu {

constexpr int kTile = 64;
constexpr int kTileThreads = 256;  // 16 × 16, each with 4 lines × 4 steps, then with 4 lines × 4 columns
constexpr int kPerThread = 4;
constexpr int kSlice = 32;  // of the rows of D numbers, in shared memory at a time, for dot products
// 4 floats between rows, so that neither rows nor columns of float4 meet in a bank.
constexpr int kSliceStride = kSlice + 4;
constexpr int kTileStride = kTile + 4;

// The weight of a step that a line does not see: nothing that is computed gives −0.
constexpr float kUnseen = -0.0f;
__device__ inline bool is_seen(float weight) { return __float_as_uint(weight) != 0x80000000u; }
__device__ inline float seen_weight(float weight) { return weight == 0.0f ? 0.0f : weight; }

struct alignas(16) Tile {
  float slices[2 * kTile * kSliceStride];  // of the rows of lines and of steps; later 64 columns of the steps' rows
  float weights[kTile * kTileStride];      // [step][line]
  int64_t lines[kTile];                    // where the row of a line begins, in elements; −1: there is none
  int64_t steps[kTile];
};

// The rows that tiles are made of: D numbers each; `wide`: all of them lie at multiples of 16 bytes.
struct RowForm {
  int D;
  bool wide;
};

// How query rows are put into tiles: some positions with the heads of a key/value head, all of them or 64 at a time.
struct RowTiles {
  int64_t group;
  int heads;
  int pieces;
  int positions;

  RowTiles(int64_t all_heads, int64_t kv_heads)
      : group(all_heads / kv_heads),
        heads(static_cast<int>(group < kTile ? group : kTile)),
        pieces(static_cast<int>((group + heads - 1) / heads)),
        positions(kTile / heads) {}
  unsigned blocks(int64_t T) const { return static_cast<unsigned>((T + positions - 1) / positions); }
};

// The heads of a block, of which blockIdx.y counts the pieces of all key/value heads.
struct HeadsOfBlock {
  int kv_head, first, count;

  __device__ HeadsOfBlock(const RowTiles& tiles) : kv_head(static_cast<int>(blockIdx.y) / tiles.pieces) {
    const int group = static_cast<int>(tiles.group), begin = static_cast<int>(blockIdx.y) % tiles.pieces * tiles.heads;
    first = kv_head * group + begin;
    count = group - begin < tiles.heads ? group - begin : tiles.heads;
  }
};

__device__ inline int first_line() { return static_cast<int>(threadIdx.x) / 16 * kPerThread; }
__device__ inline int first_column() { return static_cast<int>(threadIdx.x) % 16 * kPerThread; }
__device__ inline int step_of(int w) { return static_cast<int>(threadIdx.x) % 16 + 16 * w; }

__device__ inline float4 float4_at(const float* shared) { return *reinterpret_cast<const float4*>(shared); }

// Numbers d … d + 3 of a row, 0 beyond its end.
__device__ inline float4 load_four(const float* row, int d, RowForm form) {
  if (d >= form.D) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (form.wide) return float4_at(row + d);
  const int left = form.D - d;
  return make_float4(row[d], left > 1 ? row[d + 1] : 0.0f, left > 2 ? row[d + 2] : 0.0f, left > 3 ? row[d + 3] : 0.0f);
}

// Numbers d … d + kWidth − 1 of 64 rows, as [row][stride].
template <int kWidth>
__device__ inline void load_rows(const float* from, const int64_t* rows, int d, RowForm form, float* to, int stride) {
  constexpr int kPerRow = kWidth / 4;
  const int column = static_cast<int>(threadIdx.x) % kPerRow * 4;
  for (int row = static_cast<int>(threadIdx.x) / kPerRow; row < kTile; row += kTileThreads / kPerRow) {
    const int64_t at = rows[row];
    *reinterpret_cast<float4*>(to + row * stride + column) =
        at < 0 ? make_float4(0.0f, 0.0f, 0.0f, 0.0f) : load_four(from + at, d + column, form);
  }
}

// dots[u][w] = Σ_d x[line u][d] · y[step w][d]
__device__ inline void dot_tile(const float* x, const float* y, RowForm form, Tile* tile, float (&dots)[4][4]) {
  float* const line_slices = tile->slices;
  float* const step_slices = tile->slices + kTile * kSliceStride;
  SC_UNROLL
  for (int u = 0; u < 4; ++u) {
    SC_UNROLL
    for (int w = 0; w < 4; ++w) dots[u][w] = 0.0f;
  }
  for (int d = 0; d < form.D; d += kSlice) {
    __syncthreads();
    load_rows<kSlice>(x, tile->lines, d, form, line_slices, kSliceStride);
    load_rows<kSlice>(y, tile->steps, d, form, step_slices, kSliceStride);
    __syncthreads();
    const int count = form.D - d < kSlice ? form.D - d : kSlice;
    for (int i = 0; i < count; i += 4) {
      float4 a[4], b[4];
      SC_UNROLL
      for (int u = 0; u < 4; ++u) a[u] = float4_at(line_slices + (first_line() + u) * kSliceStride + i);
      SC_UNROLL
      for (int w = 0; w < 4; ++w) b[w] = float4_at(step_slices + step_of(w) * kSliceStride + i);
      SC_UNROLL
      for (int u = 0; u < 4; ++u) {
        SC_UNROLL
        for (int w = 0; w < 4; ++w) {
          float sum = dots[u][w];
          sum = fmaf(a[u].x, b[w].x, sum);
          sum = fmaf(a[u].y, b[w].y, sum);
          sum = fmaf(a[u].z, b[w].z, sum);
          dots[u][w] = fmaf(a[u].w, b[w].w, sum);
        }
      }
    }
  }
}

// weights[u][w] of the thread's lines and steps into the tile. To be called when nobody reads the weights any more.
__device__ inline void store_weights(const float (&weights)[4][4], Tile* tile) {
  SC_UNROLL
  for (int w = 0; w < 4; ++w)
    *reinterpret_cast<float4*>(tile->weights + step_of(w) * kTileStride + first_line()) =
        make_float4(weights[0][w], weights[1][w], weights[2][w], weights[3][w]);
}

// The thread's own weights, from where it stored them.
__device__ inline void load_weights(const Tile& tile, float (&weights)[4][4]) {
  SC_UNROLL
  for (int w = 0; w < 4; ++w) {
    const float4 of = float4_at(tile.weights + step_of(w) * kTileStride + first_line());
    weights[0][w] = of.x, weights[1][w] = of.y, weights[2][w] = of.z, weights[3][w] = of.w;
  }
}

__device__ inline void add_step(float weight, const float4& row, float (&sums)[4]) {
  sums[0] = fmaf(weight, row.x, sums[0]);
  sums[1] = fmaf(weight, row.y, sums[1]);
  sums[2] = fmaf(weight, row.z, sums[2]);
  sums[3] = fmaf(weight, row.w, sums[3]);
}

// sums[u][c] += Σ_step weights[step][line u] · rows[step][first + column c] over the first `count` steps, in order; `partly`:
// some line does not see some step.
__device__ inline void weigh_tile(const float* rows, int first, int count, bool partly, RowForm form, Tile* tile,
                                  float (&sums)[4][4]) {
  __syncthreads();
  load_rows<kTile>(rows, tile->steps, first, form, tile->slices, kTileStride);
  __syncthreads();
  const float* const weights = tile->weights + first_line();
  const float* const columns = tile->slices + first_column();
  if (!partly) {
    for (int step = 0; step < count; ++step) {
      const float4 weight = float4_at(weights + step * kTileStride);
      const float4 row = float4_at(columns + step * kTileStride);
      add_step(weight.x, row, sums[0]);
      add_step(weight.y, row, sums[1]);
      add_step(weight.z, row, sums[2]);
      add_step(weight.w, row, sums[3]);
    }
    return;
  }
  for (int step = 0; step < count; ++step) {
    const float4 weight = float4_at(weights + step * kTileStride);
    const float4 row = float4_at(columns + step * kTileStride);
    if (is_seen(weight.x)) add_step(weight.x, row, sums[0]);
    if (is_seen(weight.y)) add_step(weight.y, row, sums[1]);
    if (is_seen(weight.z)) add_step(weight.z, row, sums[2]);
    if (is_seen(weight.w)) add_step(weight.w, row, sums[3]);
  }
}

// Up to four numbers of a row from column d on.
__device__ inline void store_four(float* row, int d, RowForm form, const float (&values)[4]) {
  if (form.wide && d < form.D) {
    *reinterpret_cast<float4*>(row + d) = make_float4(values[0], values[1], values[2], values[3]);
    return;
  }
  SC_UNROLL
  for (int c = 0; c < 4; ++c)
    if (d + c < form.D) row[d + c] = values[c];
}

// The sums of the thread's lines: for every 64 columns those of its four.
template <int kColumnTiles>
struct LineSums {
  float of[kColumnTiles][4][4];

  __device__ void clear() {
    SC_UNROLL
    for (int c = 0; c < kColumnTiles; ++c) {
      SC_UNROLL
      for (int u = 0; u < 4; ++u) {
        SC_UNROLL
        for (int i = 0; i < 4; ++i) of[c][u][i] = 0.0f;
      }
    }
  }
  __device__ void scale(int u, float factor) {
    SC_UNROLL
    for (int c = 0; c < kColumnTiles; ++c) {
      SC_UNROLL
      for (int i = 0; i < 4; ++i) of[c][u][i] *= factor;
    }
  }
  // Columns first … first + 64 · kColumnTiles − 1 of D.
  __device__ void add(const float* rows, int first, int count, bool partly, RowForm form, Tile* tile) {
    SC_UNROLL
    for (int c = 0; c < kColumnTiles; ++c)
      if (first + c * kTile < form.D) weigh_tile(rows, first + c * kTile, count, partly, form, tile, of[c]);
  }
  __device__ void store(float* to, int first, RowForm form, const Tile& tile) const {
    SC_UNROLL
    for (int u = 0; u < 4; ++u) {
      const int64_t at = tile.lines[first_line() + u];
      if (at < 0) continue;
      SC_UNROLL
      for (int c = 0; c < kColumnTiles; ++c) store_four(to + at, first + c * kTile + first_column(), form, of[c][u]);
    }
  }
};

}  // namespace gpu

#endif
