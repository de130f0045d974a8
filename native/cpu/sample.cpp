// sample. Greedy and the full distribution read the row as it is. Otherwise the support is gathered, in id order, into a
// shorter row that is sampled like any other. It is a prefix of the order (falling logit, rising id), so its last member tells
// whether an id belongs to it, and nothing has to be sorted: top-k keeps a list of candidates; top-p closes in on the logit of
// its last member by the masses above a few levels, and orders only what lies between the last two.

#include <float.h>

#include "cpu.h"
#include "scratch.h"
#include "softmax_row.h"

namespace SC_ISA {

namespace {

// Logits per work item, at least one row.
constexpr int64_t kItemLogits = 16384;
// Candidates beyond which those that cannot be among the top k are dropped, in addition to 4 k.
constexpr int64_t kFewCandidates = 1024;

// Philox4x32-10: the first two words of the block for counter (stream, position, 0, 0), as a number in [0, 1).
double uniform(uint64_t seed, int32_t stream, int32_t position) {
  uint32_t c0 = static_cast<uint32_t>(stream), c1 = static_cast<uint32_t>(position), c2 = 0, c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = 0xD2511F53ull * c0, b = 0xCD9E8D57ull * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(b);
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return (c0 + c1 * 0x1p-32) * 0x1p-32;
}

// ── drawing

// e^((x − top) · scale) of one vector of logits; 0 in the lanes beyond the `count` that are in the row.
VecF weights_at(const float* x, int64_t count, float top, float scale) {
  if (count >= kLanes) return exp((load(x) - splat(top)) * splat(scale));
  float weights[kLanes];
  store(weights, exp((load_part(x, count, top) - splat(top)) * splat(scale)));
  return load_part(weights, count, 0.0f);
}

int64_t block_end(int64_t begin, int64_t V) { return begin + kSoftmaxBlock < V ? begin + kSoftmaxBlock : V; }

// The first id whose cumulative weight exceeds u · total; an id of weight 0 is never drawn.
int64_t draw(const float* x, int64_t V, float scale, const RowSums& sums, double u) {
  double threshold = u * sums.total();
  double carry = 0.0;
  int64_t chosen = -1;  // the block that crosses the threshold
  for (int64_t begin = 0; begin < V && chosen < 0; begin += kSoftmaxBlock) {
    const int64_t end = block_end(begin, V);
    VecF sum = {};
    for (int64_t v = begin; v < end; v += kLanes) sum += weights_at(x + v, end - v, sums.top, scale);
    const double mass = static_cast<double>(sum_lanes(sum));
    if (carry + mass > threshold) chosen = begin;
    if (chosen < 0) carry += mass;
  }
  // Should rounding leave no such block, or no such id in it: the last id of any weight, there or before.
  if (chosen < 0) {
    chosen = (V - 1) / kSoftmaxBlock * kSoftmaxBlock;
    threshold = INFINITY;
  }
  for (int64_t drawn = -1; chosen >= 0; chosen -= kSoftmaxBlock) {
    const int64_t end = block_end(chosen, V);
    for (int64_t base = chosen; base < end; base += kLanes) {
      const VecF weights = weights_at(x + base, end - base, sums.top, scale);
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        if (!(weights[lane] > 0.0f)) continue;
        drawn = base + lane;
        carry += static_cast<double>(weights[lane]);
        if (carry > threshold) return drawn;
      }
    }
    if (drawn >= 0) return drawn;
  }
  return -1;
}

// ── the support

struct Candidate {
  float logit;
  int32_t id;
  double weight;  // what select adds up
};

bool before(const Candidate& a, const Candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

void swap(Candidate* a, Candidate* b) {
  const Candidate kept = *a;
  *a = *b;
  *b = kept;
}

// Moves the shortest prefix of the order whose weights reach `needed` to the front, in any order, and returns its length: at
// least 1, and all of them where they do not reach it. Quickselect; the pivots are random, so that no order of the ids is slow.
int64_t select(Candidate* candidates, int64_t count, double needed) {
  uint32_t random = 2463534242u;
  int64_t begin = 0, end = count;  // the prefix ends in begin + 1 … end
  while (end - begin > 1) {
    random ^= random << 13, random ^= random >> 17, random ^= random << 5;
    swap(candidates + begin, candidates + begin + random % static_cast<uint64_t>(end - begin));
    const Candidate pivot = candidates[begin];
    double ahead = 0.0;  // weights of the candidates before the pivot
    int64_t place = begin;
    for (int64_t i = begin + 1; i < end; ++i) {
      if (!before(candidates[i], pivot)) continue;
      ahead += candidates[i].weight;
      swap(candidates + ++place, candidates + i);
    }
    swap(candidates + begin, candidates + place);
    if (place > begin && ahead >= needed) {
      end = place;
    } else if (ahead + pivot.weight >= needed) {
      return place + 1;
    } else {
      needed -= ahead + pivot.weight;
      if (place + 1 == end) return end;
      begin = place + 1;
    }
  }
  return end;
}

const Candidate* last_of(const Candidate* candidates, int64_t count) {
  const Candidate* last = candidates;
  for (int64_t i = 1; i < count; ++i)
    if (before(*last, candidates[i])) last = candidates + i;
  return last;
}

// body(begin, end) in order for blocks of x of which some element reaches `floor`, which may rise meanwhile; the last block
// in any case.
template <class Body>
void for_each_block_reaching(const float* x, int64_t V, const float& floor, const Body& body) {
  constexpr int64_t block = 256;
  for (int64_t begin = 0; begin < V; begin += block) {
    const int64_t end = begin + block < V ? begin + block : V;
    if (end - begin == block) {
      VecF tops[2] = {load(x + begin), load(x + begin + kLanes)};
      for (int64_t i = 2 * kLanes; i < block; i += 2 * kLanes)
        for (int64_t u = 0; u < 2; ++u) tops[u] = max(tops[u], load(x + begin + i + u * kLanes));
      if (max_lanes(max(tops[0], tops[1])) < floor) continue;
    }
    body(begin, end);
  }
}

// body(v) in order for every x[v] ≥ floor.
template <class Body>
void for_each_reaching(const float* x, int64_t V, const float& floor, const Body& body) {
  for_each_block_reaching(x, V, floor, [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v)
      if (x[v] >= floor) body(v);
  });
}

// The order of floats as that of integers, −0 among the zeros. The loops below compare these: a compiler makes branches of
// conditions on floats, and whether an id of a row is in or out cannot be predicted.
inline uint32_t rank_of(float x) {
  const float zero_is_positive = x + 0.0f;
  uint32_t bits;
  memcpy(&bits, &zero_is_positive, sizeof bits);
  return bits ^ (static_cast<uint32_t>(static_cast<int32_t>(bits) >> 31) | 0x80000000u);
}

// The place of an id in the order (falling logit, rising id): larger comes first.
inline uint64_t place_of(float logit, int64_t id) {
  return static_cast<uint64_t>(rank_of(logit)) << 32 | (UINT32_MAX - static_cast<uint32_t>(id));
}

// The last member of a support; what comes after it in the order is left out.
struct Cut {
  float logit;
  int32_t id;
};

constexpr Cut kNoCut = {-INFINITY, INT32_MAX};

Cut earlier(const Cut& a, const Cut& b) { return place_of(a.logit, a.id) > place_of(b.logit, b.id) ? a : b; }

double exact_weight(float logit, float top, float temperature) {
  return ::exp((static_cast<double>(logit) - static_cast<double>(top)) / static_cast<double>(temperature));
}

// The first k of the order, in any order; k < V. Returns how many there are: fewer where the others are −∞.
int64_t gather_top_k(const float* x, int64_t V, int64_t k, Candidate* candidates) {
  const int64_t most = 4 * k + kFewCandidates;
  float floor = -FLT_MAX;
  int64_t count = 0;
  for_each_reaching(x, V, floor, [&](int64_t v) {
    candidates[count++] = {x[v], static_cast<int32_t>(v), 1.0};
    if (count < most) return;
    // Of those to come only what exceeds the k-th so far counts: a tie goes to the lower id.
    count = select(candidates, count, static_cast<double>(k));
    floor = nextafterf(last_of(candidates, count)->logit, INFINITY);
  });
  return k < count ? select(candidates, count, static_cast<double>(k)) : count;
}

constexpr int kLevels = 8;

// masses[i] = Σ e^((x[v] − top) · scale) over x[v] ≥ levels[i]. Of one level the same bits, whatever the others are.
void masses_above(const float* x, int64_t V, float top, float scale, const float* levels, double* masses) {
  for (int i = 0; i < kLevels; ++i) masses[i] = 0.0;
  for (int64_t begin = 0; begin < V; begin += kSoftmaxBlock) {
    const int64_t end = block_end(begin, V);
    VecF sums[kLevels] = {};
    for (int64_t v = begin; v < end; v += kLanes) {
      const VecF row = end - v < kLanes ? load_part(x + v, end - v, -INFINITY) : load(x + v);
      const VecF weights = exp((row - splat(top)) * splat(scale));
      for (int i = 0; i < kLevels; ++i) sums[i] += row >= splat(levels[i]) ? weights : VecF{};
    }
    for (int i = 0; i < kLevels; ++i) masses[i] += static_cast<double>(sum_lanes(sums[i]));
  }
}

// The nucleus ends among the logits low ≤ x < high; `above`: the mass of x ≥ high.
struct Bracket {
  float low, high;
  double above;
};

// Closes in on the logit at which the mass from the top reaches `needed`: every pass over the row divides the bracket by
// kLevels + 1, until few logits can be left in it.
Bracket close_in(const float* x, int64_t V, float top, float scale, float low, double needed) {
  constexpr int passes = 4;
  Bracket bracket = {low, INFINITY, 0.0};
  for (int pass = 0; pass < passes; ++pass) {
    const float from = pass == 0 ? top : bracket.high;
    float levels[kLevels];
    double masses[kLevels];
    for (int i = 0; i < kLevels; ++i)
      levels[i] = from + (bracket.low - from) * (static_cast<float>(i + 1) / static_cast<float>(kLevels + 1));
    masses_above(x, V, top, scale, levels, masses);
    double mass = -1.0;  // of the bracket, where both ends were weighed
    for (int i = 0; i < kLevels; ++i) {
      if (masses[i] >= needed) {
        bracket.low = levels[i];
        mass = masses[i] - bracket.above;
        break;
      }
      bracket.high = levels[i];
      bracket.above = masses[i];
    }
    const double least = ::exp(static_cast<double>(bracket.low - top) * static_cast<double>(scale));
    if (mass >= 0.0 && mass < least * static_cast<double>(kFewCandidates)) break;
  }
  return bracket;
}

// The end of the smallest set of the largest p whose sum reaches top_p. `ids` has room for V, like `candidates`.
Cut top_p_cut(const SampleArgs& args, const float* x, const RowSums& sums, float scale, Candidate* candidates, int32_t* ids) {
  const double total = sums.total(), needed = static_cast<double>(args.top_p) * total;
  // What has p < (1 − top_p) / V adds up to less than 1 − top_p; a factor for rounding.
  double least = 0.5 * (1.0 - static_cast<double>(args.top_p)) * total / static_cast<double>(args.V);
  if (least > 0.5) least = 0.5;
  const double depth = log(least) * static_cast<double>(args.temperature) * 1.000001;
  const float low = static_cast<float>(static_cast<double>(sums.top) + depth) - 1e-6f * fabsf(sums.top);
  const Bracket bracket = close_in(x, args.V, sums.top, scale, low > -FLT_MAX ? low : -FLT_MAX, needed);
  const uint32_t lowest = rank_of(bracket.low), span = rank_of(bracket.high) - lowest;
  int64_t count = 0;
  for_each_block_reaching(x, args.V, bracket.low, [&](int64_t begin, int64_t end) {
    int64_t inside = count;
    for (int64_t v = begin; v < end; ++v) {
      ids[inside] = static_cast<int32_t>(v);
      inside += rank_of(x[v]) - lowest < span;
    }
    count = inside;
  });
  for (int64_t i = 0; i < count; ++i) candidates[i] = {x[ids[i]], ids[i], exact_weight(x[ids[i]], sums.top, args.temperature)};
  if (count == 0) return {bracket.high, INT32_MAX};  // rounding alone kept the mass above it from `needed`
  const Candidate last = *last_of(candidates, select(candidates, count, needed - bracket.above));
  return {last.logit, last.id};
}

// The end of the k most probable ids, or of those of them that reach top_p.
Cut top_k_cut(const SampleArgs& args, const float* x, const RowSums& sums, Candidate* candidates) {
  int64_t count = gather_top_k(x, args.V, args.top_k, candidates);
  if (args.top_p < 1.0f) {
    for (int64_t i = 0; i < count; ++i) candidates[i].weight = exact_weight(candidates[i].logit, sums.top, args.temperature);
    count = select(candidates, count, static_cast<double>(args.top_p) * sums.total());
  }
  const Candidate last = *last_of(candidates, count);
  return {last.logit, last.id};
}

// The end of the ids with p ≥ min_p · max p. The logits near the bound are weighed one by one.
Cut min_p_cut(const SampleArgs& args, const float* x, float top) {
  if (args.min_p >= 1.0f) return {top, INT32_MAX};
  const double depth = log(static_cast<double>(args.min_p)) * static_cast<double>(args.temperature);
  const float room = static_cast<float>(1e-3 * static_cast<double>(args.temperature)) + 1e-6f * fabsf(top);
  const float bound = static_cast<float>(static_cast<double>(top) + depth);
  const float low = bound - room > -FLT_MAX ? bound - room : -FLT_MAX;
  float last = bound + room < top ? bound + room : top;
  for_each_reaching(x, args.V, low, [&](int64_t v) {
    if (x[v] < last && exact_weight(x[v], top, args.temperature) >= static_cast<double>(args.min_p)) last = x[v];
  });
  return {last, INT32_MAX};
}

struct Support {
  float* logits;
  int32_t* ids;
  int64_t count;
};

// Gathers the support of a row of finite or −∞ logits. `candidates` and the arrays of the support have room for V.
void gather_support(const SampleArgs& args, const float* x, const RowSums& sums, float scale, Candidate* candidates,
                    Support* support) {
  Cut cut = kNoCut;
  if (args.top_k > 0 && args.top_k < args.V)
    cut = top_k_cut(args, x, sums, candidates);
  else if (args.top_p < 1.0f)
    cut = top_p_cut(args, x, sums, scale, candidates, support->ids);
  if (args.min_p > 0.0f) cut = earlier(cut, min_p_cut(args, x, sums.top));
  const uint64_t last = place_of(cut.logit, cut.id);
  support->count = 0;
  for_each_block_reaching(x, args.V, cut.logit, [&](int64_t begin, int64_t end) {
    int64_t count = support->count;
    for (int64_t v = begin; v < end; ++v) {
      support->ids[count] = static_cast<int32_t>(v);
      support->logits[count] = x[v];
      count += place_of(x[v], v) >= last;
    }
    support->count = count;
  });
}

// ── a row

struct Sampled {
  int32_t token;
  float logprob;
  float support_logprob;
};

// A row without a distribution, and one in shared memory that another thread overwrites while it is read.
constexpr Sampled kNoToken = {-1, NAN, NAN};

int32_t first_equal(const float* x, int64_t V, float value) {
  for (int64_t v = 0; v < V; ++v)
    if (x[v] == value) return static_cast<int32_t>(v);
  return -1;
}

// `candidates` is null where nothing cuts the support.
Sampled sample_row(const SampleArgs& args, int64_t r, Candidate* candidates, Support* support) {
  const float* const x = static_cast<const float*>(args.logits) + r * args.V;
  const bool greedy = args.temperature == 0.0f;
  const float inverse = 1.0f / args.temperature;
  const float scale = greedy ? 1.0f : inverse > FLT_MAX ? FLT_MAX : inverse;
  const RowSums sums = sum_row<false, false>(x, args.V, scale);
  // NaN, nothing but −∞, or a logit of +∞, where no distribution is left.
  if (!(fabsf(sums.top) < INFINITY) || sums.rest != sums.rest) return kNoToken;
  if (greedy) return {first_equal(x, args.V, sums.top), row_logprob(sums, sums.top, 1.0f), 0.0f};

  const double u = uniform(static_cast<uint64_t>(args.seed), args.streams[r], args.positions[r]);
  if (!candidates) {
    const int64_t token = draw(x, args.V, scale, sums, u);
    if (token < 0) return kNoToken;
    const float logprob = row_logprob(sums, x[token], scale);
    return {static_cast<int32_t>(token), logprob, logprob};
  }
  gather_support(args, x, sums, scale, candidates, support);
  const RowSums kept = sum_row<false, false>(support->logits, support->count, scale);
  const int64_t drawn = draw(support->logits, support->count, scale, kept, u);
  if (drawn < 0) return kNoToken;
  const float logit = support->logits[drawn];
  return {support->ids[drawn], row_logprob(sums, logit, scale), row_logprob(kept, logit, scale)};
}

}  // namespace

int32_t sample(const SampleArgs* args, ScStream, ScError* error) {
  const int64_t V = args->V;
  const bool limits_k = args->top_k > 0 && args->top_k < V;
  const bool cuts = args->temperature != 0.0f && (limits_k || args->top_p < 1.0f || args->min_p > 0.0f);
  const size_t bytes = cuts ? static_cast<size_t>(V) * (sizeof(Candidate) + sizeof(float) + sizeof(int32_t)) : 0;
  const int64_t rows = V >= kItemLogits ? 1 : kItemLogits / (V > 0 ? V : 1);
  return parallel_with_scratch((args->R + rows - 1) / rows, bytes, error, [&](int64_t item, void* memory) {
    Candidate* const candidates = cuts ? static_cast<Candidate*>(memory) : nullptr;
    Support support = {nullptr, nullptr, 0};
    if (cuts) {
      support.logits = reinterpret_cast<float*>(candidates + V);
      support.ids = reinterpret_cast<int32_t*>(support.logits + V);
    }
    const int64_t end = (item + 1) * rows < args->R ? (item + 1) * rows : args->R;
    for (int64_t r = item * rows; r < end; ++r) {
      const Sampled sampled = sample_row(*args, r, candidates, &support);
      args->tokens[r] = sampled.token;
      args->logprobs[r] = sampled.logprob;
      if (args->support_logprobs) args->support_logprobs[r] = sampled.support_logprob;
    }
  });
}

}  // namespace SC_ISA
