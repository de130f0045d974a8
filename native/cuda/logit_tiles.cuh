// Tiles of 128 × 128 logits of a head of one half type, made on tensor cores and left in registers: what both directions of
// linear_logprobs share where they go by tiles.
//
// Both operands of a product come in slices of 32 terms, of which two are on their way while a third is multiplied. A warp has
// 64 × 32 logits of a tile, a lane of it 8 × 8.

#ifndef STEPCREDIT_CUDA_LOGIT_TILES_CUH
#define STEPCREDIT_CUDA_LOGIT_TILES_CUH

#include "logit_row.cuh"
#include "mma.cuh"
#include "unroll.cuh"

namespace gpu {

constexpr int kLogitThreads = 256;
constexpr int kTileRows = 128, kTileColumns = 128, kDepth = 32;
constexpr int kWarpRows = 64, kWarpColumns = 32, kWarpsAcross = kTileColumns / kWarpColumns;
constexpr int kDown = kWarpRows / 16, kAcross = kWarpColumns / 8;  // products of a warp
constexpr int kOwn = 8;                                            // rows and columns of a lane
static_assert(2 * kDown == kOwn && 2 * kAcross == kOwn, "a lane has two rows and two columns of every product");
static_assert(kTileRows / kWarpRows * kWarpsAcross * kWarp == kLogitThreads, "the warps of a block make a tile");
constexpr int kPitch = kDepth + 8;  // elements from row to row: eight rows side by side meet in no bank
constexpr int kStages = 3;

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

// Begins to copy the terms k … k + kDepth − 1 of the rows `first` … of a matrix [rows, H]; zeros where there are none.
template <class Half>
__device__ inline void begin_slice(const Half* matrix, int64_t first, int64_t rows, int64_t H, int64_t k, Half* to) {
  constexpr int kVector = 8, kVectors = kDepth / kVector;
  static_assert(kTileRows == kTileColumns && kTileRows * kVectors % kLogitThreads == 0, "all threads copy as much");
  SC_UNROLL
  for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kVectors; i += kLogitThreads) {
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

// The terms of a slice are summed from 0 on the cores, which round towards 0: that is small beside the sums of many slices.
template <class Half>
__device__ inline void add_products(const Stage<Half>& stage, const Place& place, Products& sums) {
  const int lane = place.lane;
  constexpr int kSteps = kDepth / 16;
  FragmentA a[kDown][kSteps];
  SC_UNROLL
  for (int m = 0; m < kDown; ++m) {
    SC_UNROLL
    for (int step = 0; step < kSteps; ++step)
      load_matrices(stage.rows + (place.row + m * 16 + lane % 16) * kPitch + step * 16 + lane / 16 * 8, a[m][step].pairs);
  }
  SC_UNROLL
  for (int n = 0; n < kAcross; n += 2) {
    FragmentB b[2][kSteps];
    SC_UNROLL
    for (int step = 0; step < kSteps; ++step) {
      unsigned pairs[4];
      load_matrices(stage.columns + (place.column + n * 8 + lane / 16 * 8 + lane % 8) * kPitch + step * 16 + lane / 8 % 2 * 8,
                    pairs);
      b[0][step] = {{pairs[0], pairs[1]}};
      b[1][step] = {{pairs[2], pairs[3]}};
    }
    SC_UNROLL
    for (int m = 0; m < kDown; ++m) {
      SC_UNROLL
      for (int i = 0; i < 2; ++i) {
        float slice[4] = {};
        SC_UNROLL
        for (int step = 0; step < kSteps; ++step) mma_16x8x16<Half>(slice, a[m][step], b[i][step]);
        SC_UNROLL
        for (int j = 0; j < 4; ++j) sums[m][n + i][j] += slice[j];
      }
    }
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
__device__ inline void make_logits(const HeadRows& head, const Place& place, int64_t v, Products& products) {
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

}  // namespace gpu

#endif
