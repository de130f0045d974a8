// Few long rows, each shared by several blocks: each has a run of ids or some chunks, and leaves the sums of its threads in
// scratch memory, which who comes next adds in the order in which a single block would have. Top-k and top-p are two searches
// side by side, a launch a pass; what so many passes do not close every block closes for itself.

#ifndef STEPCREDIT_CUDA_SAMPLE_SHARED_CUH
#define STEPCREDIT_CUDA_SAMPLE_SHARED_CUH

#include "queue.cuh"
#include "sample_support.cuh"
#include "scratch_pieces.cuh"

namespace gpu {

namespace sampling {

// Enough for most logits: in trials normal and exponential ones took 2 to 8 passes, those of half types 2 to 5.
constexpr int kSharedPasses = 8;
// Runs of a row beyond which the launches of a search are taken to be worth it. Not measured.
constexpr int64_t kSearchedRuns = 4;

enum Search { kTopK, kTopP };

// What blocks leave for each other.
struct SharedRows {
  int64_t R, runs;
  int chunks, searches;
  Search first;             // of the searches; a second one is kTopP
  float* tops;              // [R, runs]
  float* weights;           // [R, runs, of all and of what is kept, parts of a mass, threads]
  double* masses;           // [R, chunks]
  Cut* cuts;                // [R]
  Bracket* brackets;        // [2, searches, R]: of a pass and of the one before
  Findings* pass_findings;  // [2, searches, R, runs, levels]
  double* ties;             // [searches, R, chunks]

  __device__ float* weights_of(int64_t r, int64_t run, bool kept) const {
    return weights + ((r * runs + run) * 2 + (kept ? 1 : 0)) * 2 * kThreads;
  }

  __device__ float top_of(int64_t r) const {
    float top = -INFINITY;
    for (int64_t run = 0; run < runs; ++run) top = Larger{}(top, tops[r * runs + run]);
    return top;
  }

  __device__ Mass mass_of(int64_t r, bool kept) const {
    double sums[2] = {};
    for (int64_t run = 0; run < runs; ++run) {
      SC_UNROLL
      for (int i = 0; i < 2; ++i) sums[i] += static_cast<double>(weights_of(r, run, kept)[i * kThreads + threadIdx.x]);
    }
    SC_UNROLL
    for (int i = 0; i < 2; ++i) sums[i] = reduce_block<kThreads>(sums[i], Add{});
    return {sums[0], sums[1]};
  }

  __device__ Search kind_of(int search) const { return search == 0 ? first : kTopP; }
  __device__ double* ties_of(int search, int64_t r) const { return ties + (search * R + r) * chunks; }
  __device__ Bracket* bracket(int pass, int search, int64_t r) const {
    return brackets + (pass % 2 * searches + search) * R + r;
  }
  __device__ Findings* findings(int pass, int search, int64_t r, int64_t run) const {
    return pass_findings + (((pass % 2 * searches + search) * R + r) * runs + run) * kLevels;
  }
};

inline bool allocate(Queue* queue, const SampleArgs& args, SharedRows* rows, ScError* error) {
  const bool k = limits_k(args), p = limits_p(args);
  rows->R = args.R;
  rows->runs = (args.V + kRun - 1) / kRun;
  rows->chunks = Chunks(args.V).count;
  rows->searches = (k ? 1 : 0) + (p ? 1 : 0);
  rows->first = k ? kTopK : kTopP;
  const int64_t searched = rows->searches * args.R;
  ScratchPieces pieces;
  pieces.add(&rows->tops, args.R * rows->runs);
  pieces.add(&rows->weights, args.R * rows->runs * 4 * kThreads);
  pieces.add(&rows->masses, args.R * rows->chunks);
  pieces.add(&rows->cuts, args.R);
  pieces.add(&rows->brackets, 2 * searched);
  pieces.add(&rows->pass_findings, 2 * searched * rows->runs * kLevels);
  pieces.add(&rows->ties, searched * rows->chunks);
  return pieces.allocate(queue, "sample", error);
}

__device__ inline void weigh_run(const Row& row, int64_t run, const Cut& cut, float* to) {
  float partial[2];
  sum_run(row, run, partial, MassOf{row, cut});
  to[threadIdx.x] = partial[0];
  to[kThreads + threadIdx.x] = partial[1];
}

// A chunk each warp, from chunk block · kWarps on.
template <class Weigh>
__device__ inline void weigh_chunks(const Row& row, int64_t block, const Weigh& weigh, double* masses) {
  const Chunks chunks(row.V);
  const int chunk = static_cast<int>(block) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (chunk >= chunks.count) return;
  const double mass = chunk_mass(chunks, chunk, row.V, weigh);
  if (threadIdx.x % kWarp == 0) masses[chunk] = mass;
}

// body(measure) with what a search measures by.
template <class Body>
__device__ inline void with_measure(Search kind, const Row& row, const Body& body) {
  if (kind == kTopK) {
    body(One{});
  } else {
    body(Weight{row});
  }
}

// The bracket of a search before a pass, from what the pass before has left.
__device__ inline Bracket bracket_before(int pass, int search, const SampleArgs& args, const Row& row, const SharedRows& rows,
                                         int64_t r) {
  if (pass == 0)
    return rows.kind_of(search) == kTopK ? top_k_bracket(row, args.top_k) : top_p_bracket(args, row, rows.mass_of(r, false));
  const Bracket bracket = *rows.bracket(pass - 1, search, r);
  if (bracket.is_closed()) return bracket;
  Findings found;
  for (int64_t run = 0; run < rows.runs && threadIdx.x < kLevels; ++run)
    found.add(rows.findings(pass - 1, search, r, run)[threadIdx.x]);
  return narrowed(bracket, Levels(bracket, pass - 1), found);
}

// The end of the support, once the searches have ended.
__device__ inline Cut shared_cut(const SampleArgs& args, const Row& row, const SharedRows& rows, int64_t r) {
  Cut cut = cut_by_top(args, row);
  for (int search = 0; search < rows.searches; ++search) {
    const Bracket bracket = *rows.bracket(kSharedPasses, search, r);
    with_measure(rows.kind_of(search), row,
                 [&](const auto& measure) { cut = earlier(cut, cut_at(row, bracket, measure, rows.ties_of(search, r))); });
  }
  return cut;
}

}  // namespace sampling

}  // namespace gpu

#endif
