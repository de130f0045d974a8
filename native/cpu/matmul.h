// The portable matrix product: C [M, N] (+)= A [M, K] · B [K, N], f32.
//
// B is packed, a block of columns at a time, into panels two vectors wide; a micro-tile of kTileRows × 2 vectors of C lives in
// registers while a block of K streams past it. Where the rows of A do not lie along K, a block of them is packed too. Every
// element of C is summed over K in the same order, whatever M, the rest of the batch and the threads are: Σ over blocks of
// kDepth of a running f32 sum each.
//
// A weight's gradient, a sum of outer products over many rows, has an order of its own: see add_outer_products.

#ifndef STEPCREDIT_CPU_MATMUL_H
#define STEPCREDIT_CPU_MATMUL_H

#include <stdlib.h>

#include "parallel.h"
#include "scratch.h"
#include "simd.h"
#include "transpose.h"

namespace {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int64_t kTileRows = 8;  // 16 accumulators in 32 registers; the 8 row pointers stay in registers too
#else
constexpr int64_t kTileRows = 6;  // 12 accumulators, 2 vectors of B and a broadcast in 16 registers
#endif
constexpr int64_t kPanel = 2 * kLanes;
constexpr int64_t kDepth = 256;    // a panel of this depth fits the first cache beside the rows of A
constexpr int64_t kTaskRows = 48;  // a multiple of every kTileRows
constexpr int64_t kTaskPanels = 4;
constexpr int64_t kPackedColumns = 1024;  // bounds the packed copy of B to K · 4 KiB

// A matrix by its strides: element (i, j) is at data[i * row + j * column].
struct Strided {
  const float* data;
  int64_t row;
  int64_t column;
};

// `rows` × one panel of C, over `depth` terms. `columns` of the panel exist.
template <int64_t rows>
inline void multiply_tile(const Strided& A, int64_t depth, const float* panel, float* C, int64_t ldc, int64_t columns,
                          bool add) {
  VecF sums[rows][2] = {};
  const float* a[rows];
  for (int64_t i = 0; i < rows; ++i) a[i] = A.data + i * A.row;
  for (int64_t k = 0, offset = 0; k < depth; ++k, offset += A.column) {
    const VecF b0 = load(panel + k * kPanel), b1 = load(panel + k * kPanel + kLanes);
    for (int64_t i = 0; i < rows; ++i) {
      const VecF factor = splat(a[i][offset]);
      sums[i][0] = fma(factor, b0, sums[i][0]);
      sums[i][1] = fma(factor, b1, sums[i][1]);
    }
  }
  for (int64_t i = 0; i < rows; ++i) {
    float* c = C + i * ldc;
    if (columns == kPanel) {
      store(c, add ? load(c) + sums[i][0] : sums[i][0]);
      store(c + kLanes, add ? load(c + kLanes) + sums[i][1] : sums[i][1]);
    } else {
      float whole[kPanel];
      store(whole, sums[i][0]);
      store(whole + kLanes, sums[i][1]);
      for (int64_t j = 0; j < columns; ++j) c[j] = add ? c[j] + whole[j] : whole[j];
    }
  }
}

template <int64_t rows>
inline void multiply_rest(int64_t count, const Strided& A, int64_t depth, const float* panel, float* C, int64_t ldc,
                          int64_t columns, bool add) {
  if constexpr (rows > 0) {
    if (count == rows)
      multiply_tile<rows>(A, depth, panel, C, ldc, columns, add);
    else
      multiply_rest<rows - 1>(count, A, depth, panel, C, ldc, columns, add);
  }
}

// Panel of B from column `first`, all K rows, zero-filled on the right.
inline void pack_panel(const Strided& B, int64_t K, int64_t first, int64_t columns, float* panel) {
  if (B.column == 1 && columns == kPanel) {
    for (int64_t k = 0; k < K; ++k) {
      store(panel + k * kPanel, load(B.data + k * B.row + first));
      store(panel + k * kPanel + kLanes, load(B.data + k * B.row + first + kLanes));
    }
    return;
  }
  int64_t packed = 0;
  if (B.row == 1 && columns == kPanel) {
    const float* from[kPanel];
    for (int64_t j = 0; j < kPanel; ++j) from[j] = B.data + (first + j) * B.column;
    for (; packed + 4 <= K; packed += 4) {
      transpose_four(from, packed, panel + packed * kPanel, kPanel);
      transpose_four(from + kLanes, packed, panel + packed * kPanel + kLanes, kPanel);
    }
  }
  for (int64_t j = 0; j < kPanel; ++j) {
    const float* from = B.data + (first + j) * B.column;
    if (j < columns)
      for (int64_t k = packed; k < K; ++k) panel[k * kPanel + j] = from[k * B.row];
    else
      for (int64_t k = packed; k < K; ++k) panel[k * kPanel + j] = 0.0f;
  }
}

// Floats from one packed tile of A to the next. Not a power of two: the same term of every tile would share a set of the cache.
constexpr int64_t tile_stride(int64_t depth) { return depth * kTileRows + 16; }

// `rows` rows of A, `depth` terms each, into tiles [depth][kTileRows].
inline void pack_tiles(const Strided& A, int64_t rows, int64_t depth, float* tiles) {
  const int64_t stride = tile_stride(depth), whole = A.row == 1 ? rows - rows % kTileRows : 0;
  for (int64_t k = 0; k < depth; ++k) {
    const float* from = A.data + k * A.column;
    float* to = tiles + k * kTileRows;
    for (int64_t m = 0; m < whole; m += kTileRows, to += stride) memcpy(to, from + m, kTileRows * sizeof(float));
    for (int64_t m = whole; m < rows; m += kTileRows, to += stride)
      for (int64_t i = 0; i < kTileRows && m + i < rows; ++i) to[i] = from[(m + i) * A.row];
  }
}

// Some panels of B, `stride` floats from one to the next; `columns` of theirs exist.
struct Panels {
  const float* data;
  int64_t stride;
  int64_t columns;
};

// `rows` rows of C against the panels, over `depth` terms. `tiles`: the rows of A packed by pack_tiles, or null.
inline void multiply_block(const Strided& A, const float* tiles, int64_t rows, int64_t depth, const Panels& B, float* C,
                           int64_t ldc, bool add) {
  for (int64_t n = 0; n < B.columns; n += kPanel) {
    const int64_t columns = B.columns - n < kPanel ? B.columns - n : kPanel;
    const float* panel = B.data + n / kPanel * B.stride;
    for (int64_t m = 0; m < rows; m += kTileRows) {
      const Strided tile = tiles ? Strided{tiles + m / kTileRows * tile_stride(depth), 1, kTileRows}
                                 : Strided{A.data + m * A.row, A.row, A.column};
      const int64_t count = rows - m < kTileRows ? rows - m : kTileRows;
      multiply_rest<kTileRows>(count, tile, depth, panel, C + m * ldc + n, ldc, columns, add);
    }
  }
}

// Returns false where the packed copy could not be allocated. `bias [N]` opt is added to every row.
inline bool multiply(int64_t M, int64_t N, int64_t K, const Strided& A, const Strided& B, float* C, int64_t ldc,
                     bool accumulate, const float* bias) {
  if (M <= 0 || N <= 0) return true;
  const int64_t most = N < kPackedColumns ? N : kPackedColumns;
  const int64_t most_panels = (most + kPanel - 1) / kPanel;
  // A multiple of the alignment, or aligned_alloc may refuse: a narrow panel can be shorter than 64 bytes.
  const size_t floats = static_cast<size_t>((K > 0 ? K : 1) * most_panels * kPanel);
  float* packed = static_cast<float*>(aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64));
  if (!packed) return false;
  for (int64_t n0 = 0; n0 < N; n0 += kPackedColumns) {
    const int64_t width = N - n0 < kPackedColumns ? N - n0 : kPackedColumns;
    const int64_t panels = (width + kPanel - 1) / kPanel;
    auto pack = [&](int64_t p) {
      const int64_t columns = width - p * kPanel < kPanel ? width - p * kPanel : kPanel;
      pack_panel(B, K, n0 + p * kPanel, columns, packed + p * K * kPanel);
    };
    if (K * width < 65536)
      for (int64_t p = 0; p < panels; ++p) pack(p);
    else
      parallel_chunks(panels, pack);

    const int64_t row_tasks = (M + kTaskRows - 1) / kTaskRows;
    const int64_t panel_tasks = (panels + kTaskPanels - 1) / kTaskPanels;
    parallel_chunks(row_tasks * panel_tasks, [&](int64_t task) {
      const int64_t m_begin = task / panel_tasks * kTaskRows;
      const int64_t m_end = m_begin + kTaskRows < M ? m_begin + kTaskRows : M;
      const int64_t p_begin = task % panel_tasks * kTaskPanels;
      const int64_t p_end = p_begin + kTaskPanels < panels ? p_begin + kTaskPanels : panels;
      const int64_t rows = m_end - m_begin;
      const int64_t columns = (p_end * kPanel < width ? p_end * kPanel : width) - p_begin * kPanel;
      float* const c = C + m_begin * ldc + n0 + p_begin * kPanel;
      float tiles[kTaskRows / kTileRows * tile_stride(kDepth)];
      for (int64_t k0 = 0; k0 < K || k0 == 0; k0 += kDepth) {
        const int64_t depth = K - k0 < kDepth ? K - k0 : kDepth;
        const Strided block = {A.data + m_begin * A.row + k0 * A.column, A.row, A.column};
        if (A.column != 1) pack_tiles(block, rows, depth, tiles);
        const Panels panels_of_task = {packed + (p_begin * K + k0) * kPanel, K * kPanel, columns};
        multiply_block(block, A.column != 1 ? tiles : nullptr, rows, depth, panels_of_task, c, ldc, accumulate || k0 > 0);
      }
      if (bias)
        for (int64_t m = m_begin; m < m_end; ++m)
          for (int64_t j = p_begin * kPanel; j < width && j < p_end * kPanel; ++j) C[m * ldc + n0 + j] += bias[n0 + j];
    });
  }
  free(packed);
  return true;
}

// ── sums of outer products

// What one work item of add_outer_products makes of C, and how many there are at most in a C that several share the rows of.
constexpr int64_t kOuterRows = 192;  // a multiple of every kTileRows
constexpr int64_t kOuterColumns = 256;
constexpr int64_t kOuterTiles = kOuterRows / kTileRows * tile_stride(kDepth);  // packed, in floats
constexpr int64_t kOuterItems = 32;
constexpr int64_t kSegmentDepth = 1024;

inline int64_t pieces_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

// C [M, N] += Σ_k A[k]ᵀ · B[k] over the rows of A [K, M] and B [K, N], contiguous, as the gradient of a weight is one. A small
// C with many rows would leave most threads idle, so the rows are cut into segments too; how many follows from the shape.
// Order: the segments' sums one after the other, added to C as one number; in a segment Σ over blocks of kDepth of a running
// f32 sum each. 0, or a code.
inline int32_t add_outer_products(int64_t M, int64_t N, int64_t K, const float* A, const float* B, float* C, ScError* error) {
  if (M <= 0 || N <= 0 || K <= 0) return 0;
  const int64_t row_tasks = pieces_of(M, kOuterRows), tiles_of_C = row_tasks * pieces_of(N, kOuterColumns);
  const int64_t most = tiles_of_C < kOuterItems ? kOuterItems / tiles_of_C : 1;
  const int64_t wanted = pieces_of(K, kSegmentDepth);
  const int64_t per_segment = pieces_of(pieces_of(K, wanted < most ? wanted : most), kDepth) * kDepth;
  const int64_t segments = pieces_of(K, per_segment);
  float* sums = C;
  if (segments > 1) sums = static_cast<float*>(malloc(static_cast<size_t>(segments * M * N) * sizeof(float)));
  if (!sums) return fail(error, "no memory for the sums of segments");

  const size_t bytes = static_cast<size_t>(kOuterTiles + kDepth * (kOuterColumns + kPanel)) * sizeof(float);
  int32_t code = parallel_with_scratch(segments * tiles_of_C, bytes, error, [&](int64_t item, void* memory) {
    const int64_t segment = item / tiles_of_C, tile = item % tiles_of_C;
    const int64_t m0 = tile % row_tasks * kOuterRows, n0 = tile / row_tasks * kOuterColumns;
    const int64_t rows = M - m0 < kOuterRows ? M - m0 : kOuterRows;
    const int64_t columns = N - n0 < kOuterColumns ? N - n0 : kOuterColumns;
    const int64_t k_end = (segment + 1) * per_segment < K ? (segment + 1) * per_segment : K;
    float* const tiles = static_cast<float*>(memory);
    float* const panels = tiles + kOuterTiles;
    float* const c = sums + (segments > 1 ? segment * M * N : 0) + m0 * N + n0;
    for (int64_t k0 = segment * per_segment; k0 < k_end; k0 += kDepth) {
      const int64_t depth = k_end - k0 < kDepth ? k_end - k0 : kDepth;
      const Strided a = {A + k0 * M + m0, 1, M};
      pack_tiles(a, rows, depth, tiles);
      for (int64_t n = 0; n < columns; n += kPanel)
        pack_panel({B + k0 * N, N, 1}, depth, n0 + n, columns - n < kPanel ? columns - n : kPanel, panels + n * depth);
      const bool add = segments == 1 || k0 > segment * per_segment;
      multiply_block(a, tiles, rows, depth, {panels, depth * kPanel, columns}, c, N, add);
    }
  });
  if (segments > 1) {
    parallel_blocks(M * N, 8192, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float sum = sums[i];
        for (int64_t segment = 1; segment < segments; ++segment) sum += sums[segment * M * N + i];
        C[i] += sum;
      }
    });
    free(sums);
  }
  return code;
}

}  // namespace

#endif
