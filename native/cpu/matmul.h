// The portable matrix product: C [M, N] (+)= A [M, K] · B [K, N], f32.
//
// B is packed, a block of columns at a time, into panels two vectors wide; a micro-tile of kTileRows × 2 vectors of C lives in
// registers while a block of K streams past it. Every element of C is summed over K in the same order, whatever M, the rest of
// the batch and the threads are: Σ over blocks of kDepth of a running f32 sum each.

#ifndef STEPCREDIT_CPU_MATMUL_H
#define STEPCREDIT_CPU_MATMUL_H

#include <stdlib.h>

#include "parallel.h"
#include "simd.h"

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
  for (int64_t j = 0; j < kPanel; ++j) {
    const float* from = B.data + (first + j) * B.column;
    if (j < columns)
      for (int64_t k = 0; k < K; ++k) panel[k * kPanel + j] = from[k * B.row];
    else
      for (int64_t k = 0; k < K; ++k) panel[k * kPanel + j] = 0.0f;
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
      for (int64_t k0 = 0; k0 < K || k0 == 0; k0 += kDepth) {
        const int64_t depth = K - k0 < kDepth ? K - k0 : kDepth;
        const bool add = accumulate || k0 > 0;
        for (int64_t p = p_begin; p < p_end; ++p) {
          const int64_t columns = width - p * kPanel < kPanel ? width - p * kPanel : kPanel;
          const float* panel = packed + (p * K + k0) * kPanel;
          for (int64_t m = m_begin; m < m_end; m += kTileRows) {
            const Strided rows = {A.data + m * A.row + k0 * A.column, A.row, A.column};
            float* c = C + m * ldc + n0 + p * kPanel;
            const int64_t count = m_end - m < kTileRows ? m_end - m : kTileRows;
            multiply_rest<kTileRows>(count, rows, depth, panel, c, ldc, columns, add);
          }
        }
      }
      if (bias)
        for (int64_t m = m_begin; m < m_end; ++m)
          for (int64_t j = p_begin * kPanel; j < width && j < p_end * kPanel; ++j) C[m * ldc + n0 + j] += bias[n0 + j];
    });
  }
  free(packed);
  return true;
}

}  // namespace

#endif
