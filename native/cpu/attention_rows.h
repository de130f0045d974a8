// Attention rows over a path of keys: what tree_attention and decode_attention share, so that their bits agree.
//
// A path lies on a stack: key j of the path is entry j, so every row sees a prefix of it, or the end of one. Keys are kept in
// panels of kLanes entries, transposed ([panel][D][kLanes]): score vectors run over keys, and each score is a chain of fma over
// d. Values are kept as rows padded to whole vectors: output vectors run over d, and each is a chain of fma over the keys.
// Which rows are computed together and where the key blocks end changes no operation of a row.

#ifndef STEPCREDIT_CPU_ATTENTION_ROWS_H
#define STEPCREDIT_CPU_ATTENTION_ROWS_H

#include "simd.h"
#include "transpose.h"

namespace {

// Rows that share the loads of one pass over the keys: as many as the registers hold.
#if defined(__AVX512F__)
constexpr int kBlockRows = 8;
#else
constexpr int kBlockRows = 4;
#endif
// Rows whose scores are held at once.
constexpr int64_t kTileRows = 32;
// Floats of a key block: small enough for the first cache while the rows of a tile pass over it.
constexpr int64_t kBlockFloats = 8192;

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t whole_vectors(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }
inline int64_t keys_per_block(int64_t D) { return larger(kBlockFloats / whole_vectors(D), kLanes) / kLanes * kLanes; }

// A number as a type, to pick a template by.
template <int n>
struct Count {
  static constexpr int value = n;
};

// body(Count<n>, first) over blocks of n = kBlockRows rows, then of the smaller powers of two.
template <class Body>
inline void for_row_blocks(int64_t rows, const Body& body) {
  int64_t r = 0;
  for (; r + kBlockRows <= rows; r += kBlockRows) body(Count<kBlockRows>{}, r);
  if (kBlockRows > 4 && r + 4 <= rows) body(Count<4>{}, r), r += 4;
  if (r + 2 <= rows) body(Count<2>{}, r), r += 2;
  if (r < rows) body(Count<1>{}, r);
}

// ── loading entries of the path

// Rows of the keys or values of one head, as they lie in the caller's arrays: row i at first + i · stride.
struct Source {
  const float* first;
  int64_t stride;
  const float* row(int64_t i) const { return first + i * stride; }
};

// Entries begin … end of the path into panels; entry j is row path[j] of the source. The entries before `begin` are there.
// Lanes from `end` on hold numbers that nobody reads.
inline void load_panels(const Source& source, const int32_t* path, int64_t begin, int64_t end, int64_t D, float* panels) {
  for (int64_t base = begin - begin % kLanes; base < end; base += kLanes) {
    float* const panel = panels + base * D;
    const int64_t first = larger(begin - base, 0), last = smaller(end - base, kLanes);
    int64_t d = 0;
    if (last - first >= 4) {
      const float* rows[kLanes];
      for (int64_t lane = 0; lane < kLanes; ++lane) rows[lane] = source.row(path[base + smaller(lane, last - 1)]);
      for (; d + 4 <= D; d += 4) transpose_four(rows, d, panel + d * kLanes, kLanes);
    }
    if (first == 0) memset(panel + d * kLanes, 0, static_cast<size_t>((D - d) * kLanes) * sizeof(float));
    for (int64_t lane = first; lane < last && d < D; ++lane) {
      const float* const row = source.row(path[base + lane]);
      for (int64_t i = d; i < D; ++i) panel[i * kLanes + lane] = row[i];
    }
  }
}

// A row of D numbers, padded with zeros to whole vectors.
inline void copy_padded(const float* from, int64_t D, float* to) {
  int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes) store(to + d, load(from + d));
  if (d < D) store(to + d, load_part(from + d, D - d, 0.0f));
}

inline void copy_unpadded(const float* from, int64_t D, float factor, float* to) {
  int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes) store(to + d, load(from + d) * splat(factor));
  if (d < D) store_part(to + d, load(from + d) * splat(factor), D - d);
}

inline void load_rows(const Source& source, const int32_t* path, int64_t begin, int64_t end, int64_t D, float* rows) {
  for (int64_t j = begin; j < end; ++j) copy_padded(source.row(path[j]), D, rows + j * whole_vectors(D));
}

// ── the three products

template <int rows, int panels>
inline void dot_block(const float* panel, int64_t D, float scale, const float* const* x, float* dots, int64_t stride) {
  VecF sums[rows][panels] = {};
  for (int64_t d = 0; d < D; ++d) {
    VecF keys[panels];
    for (int p = 0; p < panels; ++p) keys[p] = load(panel + (p * D + d) * kLanes);
    for (int r = 0; r < rows; ++r) {
      const VecF factor = splat(x[r][d]);
      for (int p = 0; p < panels; ++p) sums[r][p] = fma(factor, keys[p], sums[r][p]);
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int p = 0; p < panels; ++p) store(dots + r * stride + p * kLanes, sums[r][p] * splat(scale));
}

// dots[r][j] = scale · Σ_d x[r][d] · panels[j][d] for the first `count` entries, rounded up to whole panels.
template <int rows>
inline void dot_rows(const float* panels, int64_t count, int64_t D, float scale, const float* const* x, float* dots,
                     int64_t stride) {
  constexpr int most = rows >= 8 ? 2 : kBlockRows > 4 || rows < 4 ? 4 : 2;
  int64_t j = 0;
  for (; j + (most - 1) * kLanes < count; j += most * kLanes)
    dot_block<rows, most>(panels + j * D, D, scale, x, dots + j, stride);
  if (most > 2 && j + kLanes < count) dot_block<rows, 2>(panels + j * D, D, scale, x, dots + j, stride), j += 2 * kLanes;
  if (j < count) dot_block<rows, 1>(panels + j * D, D, scale, x, dots + j, stride);
}

template <int rows, int vectors>
inline void weigh_block(const float* entries, int64_t begin, int64_t end, int64_t padded, const float* weights, int64_t stride,
                        float* sums) {
  VecF sum[rows][vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) sum[r][v] = load(sums + r * padded + v * kLanes);
  for (int64_t j = begin; j < end; ++j) {
    VecF entry[vectors];
    for (int v = 0; v < vectors; ++v) entry[v] = load(entries + j * padded + v * kLanes);
    for (int r = 0; r < rows; ++r) {
      const VecF weight = splat(weights[r * stride + j]);
      for (int v = 0; v < vectors; ++v) sum[r][v] = fma(weight, entry[v], sum[r][v]);
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) store(sums + r * padded + v * kLanes, sum[r][v]);
}

template <int rows>
inline void weigh_all(const float* entries, int64_t begin, int64_t end, int64_t padded, const float* weights, int64_t stride,
                      float* sums) {
  constexpr int most = rows >= 8 ? 2 : kBlockRows > 4 || rows < 4 ? 4 : 2;
  if (begin >= end) return;
  int64_t d = 0;
  for (; d + most * kLanes <= padded; d += most * kLanes)
    weigh_block<rows, most>(entries + d, begin, end, padded, weights, stride, sums + d);
  if (most > 2 && d + 2 * kLanes <= padded)
    weigh_block<rows, 2>(entries + d, begin, end, padded, weights, stride, sums + d), d += 2 * kLanes;
  if (d < padded) weigh_block<rows, 1>(entries + d, begin, end, padded, weights, stride, sums + d);
}

// The entries that rows see: row r those of first[r] … end[r], of which neither falls from row to row.
struct Sight {
  const int64_t* first;
  const int64_t* end;
};

// The entries among begin … end that all of some rows see.
template <int rows>
struct Common {
  int64_t begin, end;

  Common(const Sight& sight, int64_t from, int64_t to)
      : begin(larger(smaller(sight.first[rows - 1], to), from)), end(larger(smaller(sight.end[0], to), begin)) {}
};

// sums[r] += Σ_j weights[r][j] · entries[j] over the entries among begin … end that row r sees, in order. What weights and
// entries hold elsewhere is not read: 0 · NaN would reach rows that do not see it.
template <int rows>
inline void weigh_rows(const float* entries, int64_t begin, int64_t end, const Sight& sight, int64_t padded,
                       const float* weights, int64_t stride, float* sums) {
  const Common<rows> common(sight, begin, end);
  auto alone = [&](int r, int64_t from, int64_t to) {
    weigh_all<1>(entries, from, to, padded, weights + r * stride, stride, sums + r * padded);
  };
  for (int r = 0; r < rows - 1; ++r) alone(r, larger(begin, sight.first[r]), smaller(common.begin, sight.end[r]));
  weigh_all<rows>(entries, common.begin, common.end, padded, weights, stride, sums);
  for (int r = 1; r < rows; ++r) alone(r, common.end, smaller(end, sight.end[r]));
}

template <int rows, int vectors>
inline void spread_block(const float* x, const float* weights, int64_t stride, int64_t begin, int64_t end, int64_t padded,
                         float* sums) {
  VecF row[rows][vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) row[r][v] = load(x + r * padded + v * kLanes);
  for (int64_t j = begin; j < end; ++j) {
    VecF sum[vectors];
    for (int v = 0; v < vectors; ++v) sum[v] = load(sums + j * padded + v * kLanes);
    for (int r = 0; r < rows; ++r) {
      const VecF weight = splat(weights[r * stride + j]);
      for (int v = 0; v < vectors; ++v) sum[v] = fma(weight, row[r][v], sum[v]);
    }
    for (int v = 0; v < vectors; ++v) store(sums + j * padded + v * kLanes, sum[v]);
  }
}

template <int rows>
inline void spread_all(const float* x, const float* weights, int64_t stride, int64_t begin, int64_t end, int64_t padded,
                       float* sums) {
  if (begin >= end) return;
  int64_t d = 0;
  for (; d + 2 * kLanes <= padded; d += 2 * kLanes) spread_block<rows, 2>(x + d, weights, stride, begin, end, padded, sums + d);
  if (d < padded) spread_block<rows, 1>(x + d, weights, stride, begin, end, padded, sums + d);
}

// The transpose of weigh_rows: sums[j] += Σ_r weights[r][j] · x[r], in the order of r, over the rows that see entry j.
template <int rows>
inline void spread_rows(const float* x, const float* weights, int64_t stride, int64_t begin, int64_t end, const Sight& sight,
                        int64_t padded, float* sums) {
  const Common<rows> common(sight, begin, end);
  auto alone = [&](int r, int64_t from, int64_t to) {
    spread_all<1>(x + r * padded, weights + r * stride, stride, from, to, padded, sums);
  };
  for (int r = 0; r < rows - 1; ++r) alone(r, larger(begin, sight.first[r]), smaller(common.begin, sight.end[r]));
  spread_all<rows>(x, weights, stride, common.begin, common.end, padded, sums);
  for (int r = 1; r < rows; ++r) alone(r, common.end, smaller(end, sight.end[r]));
}

// ── softmax

// True in the first `count` lanes.
inline VecI lanes_below(int64_t count) {
  VecI lanes;
  for (int32_t lane = 0; lane < kLanes; ++lane) lanes[lane] = lane;
  return lanes < splat_int(static_cast<int32_t>(count));
}

struct Softmax {
  float max;
  float sum;
};

// scores ← exp(scores − max) over the entries first … end. The terms are summed lane by lane, in the order of the entries.
// Lanes beside them are kept at e⁰ until they are dropped: e^−∞ would be an underflow, which costs the processor 100 ns.
inline Softmax softmax_scores(float* scores, int64_t first, int64_t end) {
  // Whole vectors lie between; before and after them there may be a vector of which some lanes count.
  const int64_t whole = (first + kLanes - 1) / kLanes * kLanes, rest = end - end % kLanes;
  const bool before = first < whole, after = rest < end && rest >= whole;
  const VecI in_first = lanes_below(end - (whole - kLanes)) & ~lanes_below(first - (whole - kLanes));
  const VecI in_last = lanes_below(end - rest);
  VecF tops[2] = {splat(-INFINITY), splat(-INFINITY)};
  if (before) tops[0] = in_first ? load(scores + whole - kLanes) : splat(-INFINITY);
  int64_t j = whole;
  for (; j + 2 * kLanes <= rest; j += 2 * kLanes) {
    tops[0] = max(tops[0], load(scores + j));
    tops[1] = max(tops[1], load(scores + j + kLanes));
  }
  if (j < rest) tops[0] = max(tops[0], load(scores + j));
  if (after) tops[1] = max(tops[1], in_last ? load(scores + rest) : splat(-INFINITY));
  const float top = max_lanes(max(tops[0], tops[1]));
  VecF sum = {};
  auto partly = [&](int64_t at, VecI present) {
    const VecF e = exp(present ? load(scores + at) - splat(top) : VecF{});
    store(scores + at, e);
    sum += present ? e : VecF{};
  };
  if (before) partly(whole - kLanes, in_first);
  for (j = whole; j < rest; j += kLanes) {
    const VecF e = exp(load(scores + j) - splat(top));
    store(scores + j, e);
    sum += e;
  }
  if (after) partly(rest, in_last);
  return {top, sum_lanes(sum)};
}

// ── a tile of rows

// The path as attention reads it.
struct PathStack {
  int64_t D;
  const float* key_panels;  // [entries / kLanes][D][kLanes]
  const float* value_rows;  // [entries][whole_vectors(D)]
};

// Up to kTileRows rows and the entries that each sees: entries first[r] … end[r], of which neither falls from row to row.
struct RowTile {
  int64_t count;
  int64_t first[kTileRows];
  int64_t end[kTileRows];
  const float* q[kTileRows];
  float* out[kTileRows];
  float* lse[kTileRows];  // null: not wanted

  // Row r sees the last `window` of `visible` entries.
  void see(int64_t r, int64_t visible, int64_t window) {
    first[r] = larger(visible - window, 0);
    end[r] = visible;
  }
  Sight sight(int64_t r) const { return {first + r, end + r}; }
};

// scores [kTileRows][stride], stride a multiple of kLanes ≥ end; sums [kTileRows][whole_vectors(D)].
inline void attend(const PathStack& path, const RowTile& tile, float scale, float* scores, int64_t stride, float* sums) {
  const int64_t D = path.D, padded = whole_vectors(D);
  const int64_t block = keys_per_block(D), last = tile.end[tile.count - 1];
  const int64_t start = tile.first[0] - tile.first[0] % block;
  for (int64_t key = start; key < last; key += block) {
    for_row_blocks(tile.count, [&](auto rows, int64_t r) {
      const int64_t begin = larger(key, tile.first[r] - tile.first[r] % kLanes);
      const int64_t end = smaller(key + block, tile.end[r + rows.value - 1]);
      if (begin < end)
        dot_rows<rows.value>(path.key_panels + begin * D, end - begin, D, scale, tile.q + r, scores + r * stride + begin,
                             stride);
    });
  }
  float factors[kTileRows];
  for (int64_t r = 0; r < tile.count; ++r) {
    const Softmax softmax = softmax_scores(scores + r * stride, tile.first[r], tile.end[r]);
    factors[r] = 1.0f / softmax.sum;
    if (tile.lse[r]) *tile.lse[r] = softmax.max + logf(softmax.sum);
  }
  for (int64_t i = 0; i < tile.count * padded; i += kLanes) store(sums + i, VecF{});
  for (int64_t key = start; key < last; key += block) {
    for_row_blocks(tile.count, [&](auto rows, int64_t r) {
      weigh_rows<rows.value>(path.value_rows, key, key + block, tile.sight(r), padded, scores + r * stride, stride,
                             sums + r * padded);
    });
  }
  for (int64_t r = 0; r < tile.count; ++r) copy_unpadded(sums + r * padded, D, factors[r], tile.out[r]);
}

}  // namespace

#endif
