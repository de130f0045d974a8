// A row of elements, a vector of 16 bytes at a time. Vector i holds the
// elements i · kCount … of the row wherever the row lies in memory, and belongs
// to thread i % kThreads: so the order of a sum over a row depends on its
// length alone. A row that does not begin at 16 bytes is read and written in
// smaller pieces.

#ifndef STEPCREDIT_CUDA_ROW_VECTORS_CUH
#define STEPCREDIT_CUDA_ROW_VECTORS_CUH

#include <math.h>

#include "elements.cuh"
#include "unroll.cuh"

namespace gpu {

// The number of threads as a type.
template <int kOf>
struct Threads {
  static constexpr int kCount = kOf;
};

// Threads with rows that a multiprocessor is to have room for at a time: as few as still ask for enough memory at once. The
// registers and the shared memory of their blocks follow from it.
constexpr int kResidentThreads = 512;

// body(Threads<…>{}) with the threads of a block that has one row of V
// elements: by V alone, since the bits of a row's sums depend on it.
template <class Body>
inline void with_row_threads(int64_t V, const Body& body) {
  if (V <= 1024) {
    body(Threads<32>{});
  } else if (V <= 65536) {
    body(Threads<256>{});
  } else {
    body(Threads<512>{});
  }
}

// A row is summed in segments, whose sums are added in order: several blocks
// may have one each. A segment gives every thread as many elements, so that
// where segments end depends on V alone.
constexpr int64_t kSegmentOfThread = 64;

template <int kThreads>
struct Segment {
  static constexpr int64_t kElements = kSegmentOfThread * kThreads;
  int64_t begin, end;

  __device__ Segment(int64_t index, int64_t V) : begin(index * kElements), end(V - begin < kElements ? V : begin + kElements) {}

  // Whether a segment begins at an element, where another one ends.
  __device__ static bool begins_at(int64_t v) { return v % kElements == 0; }
};

__host__ __device__ inline int64_t segments_of(int64_t V, int threads) {
  return (V + kSegmentOfThread * threads - 1) / (kSegmentOfThread * threads);
}

template <class Piece>
__device__ inline bool lies_at(const void* memory) {
  return reinterpret_cast<uintptr_t>(memory) % sizeof(Piece) == 0;
}

template <class Piece, class Element>
__device__ inline Wide<Element> load_pieces(const Element* from) {
  Piece pieces[sizeof(Wide<Element>) / sizeof(Piece)];
  const Piece* const at = reinterpret_cast<const Piece*>(from);
  for (size_t i = 0; i < sizeof pieces / sizeof(Piece); ++i) pieces[i] = at[i];
  Wide<Element> wide;
  memcpy(&wide, pieces, sizeof wide);
  return wide;
}

template <class Piece, class Element>
__device__ inline void store_pieces(Element* to, const Wide<Element>& wide) {
  Piece pieces[sizeof(Wide<Element>) / sizeof(Piece)];
  memcpy(pieces, &wide, sizeof wide);
  Piece* const at = reinterpret_cast<Piece*>(to);
  for (size_t i = 0; i < sizeof pieces / sizeof(Piece); ++i) at[i] = pieces[i];
}

// The first `count` elements, the others −∞.
template <class Element>
__device__ inline Wide<Element> load_first(const Element* from, int64_t count) {
  Wide<Element> wide;
  SC_UNROLL
  for (int i = 0; i < Wide<Element>::kCount; ++i) {
    from_float(-INFINITY, wide.of + i);
    if (i < count) wide.of[i] = from[i];
  }
  return wide;
}

// How a row may be read and written, by where it begins.
enum class Pieces { kElements, kWords, kVectors };

__device__ inline Pieces pieces_of(const void* row) {
  return lies_at<uint4>(row) ? Pieces::kVectors : lies_at<unsigned>(row) ? Pieces::kWords : Pieces::kElements;
}

template <class Element>
__device__ inline Wide<Element> load_vector(const Element* from, int64_t count, Pieces pieces) {
  if (count < Wide<Element>::kCount) return load_first(from, count);
  if (pieces == Pieces::kVectors) return load_wide(from);
  if (pieces == Pieces::kWords) return load_pieces<unsigned>(from);
  return load_pieces<Element>(from);
}

// From which end a row is walked: what was read last is the likeliest to be in
// cache still.
enum class Walk { kFromStart, kFromEnd };

// A row as it lies in memory.
template <class Element>
struct RowInMemory {
  const Element* row;
  int64_t count;
  Pieces pieces;

  // The vector that begins at element v.
  __device__ Wide<Element> at(int64_t v) const { return load_vector(row + v, count - v, pieces); }
};

template <class Element>
__device__ inline RowInMemory<Element> row_in_memory(const Element* row, int64_t count) {
  return {row, count, pieces_of(row)};
}

// body(v, vector) for the vectors of this thread among the elements begin …
// end − 1, of which v is the first of the vector; what lies beyond the row is
// −∞. kInFlight vectors are asked for before the first of them is used, and
// after(from, to) follows on those, which are among the elements from … to − 1.
// `begin` is a multiple of a step of the block; a row has at(v).
template <int kThreads, int kInFlight, Walk walk, class Row, class Body, class After>
__device__ inline void each_vector(const Row& row, int64_t begin, int64_t end, const Body& body, const After& after) {
  using Vector = decltype(row.at(0));
  constexpr int kCount = Vector::kCount, kStep = kThreads * kCount, kRound = kInFlight * kStep;
  static_assert(Segment<kThreads>::kElements % kRound == 0, "segments are of whole rounds");
  const int64_t rounds = (end - begin + kRound - 1) / kRound;
  for (int64_t round = 0; round < rounds; ++round) {
    const int64_t from = begin + (walk == Walk::kFromEnd ? rounds - 1 - round : round) * kRound;
    const int64_t v = from + threadIdx.x * kCount;
    Vector loaded[kInFlight];
    SC_UNROLL
    for (int u = 0; u < kInFlight; ++u)
      if (v + u * kStep < end) loaded[u] = row.at(v + u * kStep);
    SC_UNROLL
    for (int u = 0; u < kInFlight; ++u)
      if (v + u * kStep < end) body(v + u * kStep, loaded[u]);
    after(from, end - from < kRound ? end : from + kRound);
  }
}

template <int kThreads, int kInFlight, Walk walk, class Row, class Body>
__device__ inline void each_vector(const Row& row, int64_t begin, int64_t end, const Body& body) {
  each_vector<kThreads, kInFlight, walk>(row, begin, end, body, [](int64_t, int64_t) {});
}

// Written to leave the cache first: nobody reads a row of results from there.
template <class Element>
__device__ inline void store_passing(Element* to, const Wide<Element>& wide) {
#if defined(__CUDA_ARCH__)
  uint4 bits;
  memcpy(&bits, &wide, sizeof bits);
  __stcs(reinterpret_cast<uint4*>(to), bits);
#else
  store_wide(to, wide);
#endif
}

// Writes a vector of a row that has `count` elements from `to` on.
template <class Element>
__device__ inline void store_vector(Element* to, int64_t count, Pieces pieces, const Wide<Element>& wide) {
  if (count < Wide<Element>::kCount) {
    SC_UNROLL
    for (int i = 0; i < Wide<Element>::kCount; ++i)
      if (i < count) to[i] = wide.of[i];
  } else if (pieces == Pieces::kVectors) {
    store_passing(to, wide);
  } else if (pieces == Pieces::kWords) {
    store_pieces<unsigned>(to, wide);
  } else {
    store_pieces<Element>(to, wide);
  }
}

template <class Element, int kCount>
__device__ inline void widen(const Wide<Element>& wide, float (&x)[kCount]) {
  SC_UNROLL
  for (int i = 0; i < kCount; ++i) x[i] = to_float(wide.of[i]);
}

template <class Element, int kCount>
__device__ inline Wide<Element> narrowed(const float (&x)[kCount], const Element*) {
  Wide<Element> wide;
  SC_UNROLL
  for (int i = 0; i < kCount; ++i) from_float(x[i], wide.of + i);
  return wide;
}

// Two at a time, by one instruction.
template <int kCount>
__device__ inline Wide<Bf16> narrowed(const float (&x)[kCount], const Bf16*) {
  Wide<Bf16> wide;
#if defined(__CUDA_ARCH__)
  SC_UNROLL
  for (int i = 0; i < kCount; i += 2) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(x[i + 1]), "f"(x[i]));
    memcpy(wide.of + i, &pair, sizeof pair);
  }
#else
  for (int i = 0; i < kCount; ++i) from_float(x[i], wide.of + i);
#endif
  return wide;
}

// Zeros in the elements begin … end − 1 of a row of `count`.
template <int kThreads, class Element>
__device__ inline void clear_part(Element* row, int64_t count, int64_t begin, int64_t end) {
  constexpr int kCount = Wide<Element>::kCount;
  const float zeros[kCount] = {};
  const Pieces pieces = pieces_of(row);
  for (int64_t v = begin + static_cast<int64_t>(threadIdx.x) * kCount; v < end; v += kThreads * kCount)
    store_vector(row + v, count - v, pieces, narrowed(zeros, row));
}

// Zeros in all of a row.
template <int kThreads, class Element>
__device__ inline void clear_row(Element* row, int64_t count) {
  clear_part<kThreads>(row, count, 0, count);
}

}  // namespace gpu

#endif
