// policy_loss_sequence_clip, policy_loss_gspo_token, policy_loss_gmpo, policy_loss_vespo: the forms that need their whole
// sequence before they know the loss of a target. A block of threads has one sequence and reads it two or three times; thread i
// has the targets i, i + kLossThreads, … of it in every pass.

#include "losses.cuh"
#include "table.cuh"

namespace gpu {

namespace {

// A sequence of targets.
struct Span {
  const PolicyLossTargets& args;
  const IgnoredTargets& ignored;
  int64_t first, last;

  // body(inputs) for the targets of this thread.
  template <class Body>
  __device__ void each(const Body& body) const {
    for (int64_t n = first + threadIdx.x; n < last; n += kLossThreads) body(inputs_at(args, ignored, n));
  }
};

__device__ inline Span span_of(const SequenceSpans& sequences, const PolicyLossTargets& args, const IgnoredTargets& ignored) {
  return {args, ignored, sequences.offsets[blockIdx.x], sequences.offsets[blockIdx.x + 1]};
}

struct Sums3 {
  double present, x, other;
};

struct AddSums3 {
  __device__ Sums3 operator()(const Sums3& a, const Sums3& b) const {
    return {a.present + b.present, a.x + b.x, a.other + b.other};
  }
};

__device__ inline Sums3 over_block(const Sums3& own) { return reduce_block<kLossThreads>(own, AddSums3{}); }
__device__ inline double over_block(double own) { return reduce_block<kLossThreads>(own, Add{}); }

// Number and mean log ratio of the present targets of a sequence.
struct SequenceRatio {
  double present;
  float mean;
};

__device__ inline SequenceRatio sequence_ratio(const Span& span) {
  Sums3 own = {};
  span.each([&](const Inputs& inputs) {
    if (!inputs.present) return;
    own.present += 1.0;
    own.x += static_cast<double>(log_ratio(span.args, inputs).x);
  });
  const Sums3 all = over_block(own);
  return {all.present, all.present > 0.0 ? static_cast<float>(all.x / all.present) : 0.0f};
}

// Adds to what this thread wrote for a target.
__device__ inline void add_slope(const PolicyLossTargets& args, int64_t n, float slope) {
  args.dlogprobs[n] = saturated(args.dlogprobs[n] + slope) + 0.0f;
}

// exp(x), at most the largest float.
__device__ inline float saturated_exp(double x) {
  const double e = exp(x);
  return e > static_cast<double>(FLT_MAX) ? FLT_MAX : static_cast<float>(e);
}

__global__ void __launch_bounds__(kLossThreads)
    clip_sequence(PolicyLossSequenceClipArgs clip, ClipForm form, IgnoredTargets ignored, LossSums* partial) {
  const PolicyLossTargets& args = clip.targets;
  const Span span = span_of(clip.sequences, args, ignored);
  const SequenceRatio of_sequence = sequence_ratio(span);
  LossSums sums = {};
  double own_slope = 0.0;  // ∂loss/∂(mean log ratio): every target of the sequence receives 1/present of it
  span.each([&](const Inputs& inputs) {
    if (!inputs.present) return write_absent(args, inputs.n);
    const Target target = at_log_ratio(inputs, of_sequence.mean, true);
    write_ratio(args, inputs.n, target.ratio);
    Value loss = surrogate(form, target, inputs, &sums);
    float direct = 0.0f;
    if (args.kl_kind != kKlNone) {
      const KlShare kl = kl_share(args, target, inputs.ref_logprob, &sums);
      loss = {saturated(loss.value + kl.value), saturated(loss.slope + kl.through_ratio)};
      direct = weighted_slope(inputs.weight, kl.direct);
    }
    add_loss(inputs.weight, loss.value, &sums);
    own_slope += static_cast<double>(inputs.weight) * static_cast<double>(loss.slope);
    args.dlogprobs[inputs.n] = direct;
  });
  const float share = static_cast<float>(over_block(own_slope) / of_sequence.present);  // not used where none is present
  span.each([&](const Inputs& inputs) {
    if (inputs.present && log_ratio(args, inputs).inside) add_slope(args, inputs.n, share);
  });
  keep_sums(sums, blockIdx.x, partial);
}

__global__ void __launch_bounds__(kLossThreads)
    gspo_token_sequence(PolicyLossGspoTokenArgs gspo, ClipForm form, IgnoredTargets ignored, LossSums* partial) {
  const PolicyLossTargets& args = gspo.targets;
  const Span span = span_of(gspo.sequences, args, ignored);
  const float mean = sequence_ratio(span).mean, most = gspo.sequence_log_ratio_max;
  const bool held = mean > most;
  LossSums sums = {};
  span.each([&](const Inputs& inputs) {
    if (!inputs.present) return write_absent(args, inputs.n);
    const Target target = at_log_ratio(inputs, held ? most : mean, !held && log_ratio(args, inputs).inside);
    write_ratio(args, inputs.n, target.ratio);
    args.dlogprobs[inputs.n] = weigh(args, target, inputs, surrogate(form, target, inputs, &sums), &sums);
  });
  keep_sums(sums, blockIdx.x, partial);
}

// Advantage and bounded log ratio of a target of policy_loss_gmpo.
struct BoundedRatio {
  float advantage;
  LogRatio ratio;
  float y;
  bool free;  // A ≠ 0 and no bound holds y
};

__device__ inline BoundedRatio bounded_ratio(const PolicyLossGmpoArgs& gmpo, const Inputs& inputs) {
  const float high = gmpo.eps_high, low = -gmpo.eps_low;
  const float advantage = inputs.positive + inputs.negative;
  const LogRatio ratio = log_ratio(gmpo.targets, inputs);
  const bool up = advantage > 0.0f, down = advantage < 0.0f;
  const bool bound = (up && ratio.x > high) || (down && ratio.x < low);
  const float y = bound ? (up ? high : low) : ratio.x;
  return {advantage, ratio, up || down ? y : 0.0f, (up || down) && !bound};
}

__global__ void __launch_bounds__(kLossThreads)
    gmpo_sequence(PolicyLossGmpoArgs gmpo, IgnoredTargets ignored, LossSums* partial) {
  const PolicyLossTargets& args = gmpo.targets;
  const Span span = span_of(gmpo.sequences, args, ignored);
  Sums3 own = {};
  span.each([&](const Inputs& inputs) {
    if (!inputs.present) return;
    const BoundedRatio bounded = bounded_ratio(gmpo, inputs);
    own.present += 1.0;
    own.x += static_cast<double>(bounded.y);
    own.other += static_cast<double>(bounded.advantage);
  });
  const Sums3 all = over_block(own);
  const double divisor = all.present > 0.0 ? all.present : 1.0;
  const float loss = saturated(-static_cast<float>(all.other / divisor) * saturated_exp(all.x / divisor));
  LossSums sums = {};
  double own_carried = 0.0;  // Σ weights · multipliers: how often the loss of the sequence counts
  span.each([&](const Inputs& inputs) {
    if (!inputs.present) return write_absent(args, inputs.n);
    const BoundedRatio bounded = bounded_ratio(gmpo, inputs);
    const Target target = at_log_ratio(inputs, bounded.ratio.x, bounded.ratio.inside);
    write_ratio(args, inputs.n, target.ratio);
    const bool up = bounded.advantage > 0.0f, down = bounded.advantage < 0.0f;
    const bool outside = bounded.ratio.x < -gmpo.eps_low || bounded.ratio.x > gmpo.eps_high;
    count_target(target, {(up || down) && !bounded.free, outside && down, outside && up, false}, &sums);
    const Value share = multiplied(inputs.multiplier, {loss, 1.0f});
    args.dlogprobs[inputs.n] = weigh(args, target, inputs, {share.value, 0.0f}, &sums);
    own_carried += static_cast<double>(inputs.weight) * static_cast<double>(share.slope);
  });
  const float slope = saturated(static_cast<float>(over_block(own_carried) * static_cast<double>(loss) / divisor));
  span.each([&](const Inputs& inputs) {
    if (!inputs.present) return;
    const BoundedRatio bounded = bounded_ratio(gmpo, inputs);
    if (bounded.free && bounded.ratio.inside) add_slope(args, inputs.n, slope);
  });
  keep_sums(sums, blockIdx.x, partial);
}

// −φ A logprob with the φ of the advantage's sign.
struct VespoForm {
  float positive, negative;

  __device__ Value operator()(float advantage, const Target& target, Decisions*) const {
    return weighted_logprob(advantage > 0.0f ? positive : negative, advantage, target.logprob);
  }
};

__device__ inline float vespo_phi(float k, float lambda, double w) {
  return saturated_exp(static_cast<double>(lambda) + static_cast<double>(k) * w - static_cast<double>(lambda) * exp(w));
}

__global__ void __launch_bounds__(kLossThreads)
    vespo_sequence(PolicyLossVespoArgs vespo, IgnoredTargets ignored, LossSums* partial) {
  const PolicyLossTargets& args = vespo.targets;
  const Span span = span_of(vespo.sequences, args, ignored);
  const float most = vespo.token_log_ratio_max;
  double own = 0.0;
  span.each([&](const Inputs& inputs) {
    if (inputs.present) own += static_cast<double>(held_between(-most, most, log_ratio(args, inputs).x));
  });
  const double low = static_cast<double>(vespo.log_weight_min), high = static_cast<double>(vespo.log_weight_max);
  double w = over_block(own) + (vespo.log_weights ? static_cast<double>(vespo.log_weights[blockIdx.x]) : 0.0);
  w = w < low ? low : w > high ? high : w;
  const VespoForm form = {vespo_phi(vespo.k_positive, vespo.lambda_positive, w),
                          vespo_phi(vespo.k_negative, vespo.lambda_negative, w)};
  LossSums sums = {};
  span.each([&](const Inputs& inputs) { loss_of_target(args, form, inputs, &sums); });
  keep_sums(sums, blockIdx.x, partial);
}

template <class Loss>
int32_t run(const Loss& args, const char* op, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const int64_t B = args.sequences.B;
  LossSums* const partial = static_cast<LossSums*>(scratch(&queue, static_cast<size_t>(B + 1) * sizeof(LossSums), op, error));
  if (!partial) return 1;
  enqueue_sequence_loss(args, none_ignored(), partial, queue.stream);
  enqueue_sum(partial, B, args.targets.metrics, queue.stream);
  return launched(&queue, op, error);
}

Shape one_block_each(const SequenceSpans& sequences) { return {static_cast<unsigned>(sequences.B), kLossThreads}; }

}  // namespace

void enqueue_sequence_loss(const PolicyLossSequenceClipArgs& args, const IgnoredTargets& ignored, LossSums* partial,
                           cudaStream_t stream) {
  if (args.sequences.B > 0)
    launch(clip_sequence, one_block_each(args.sequences), stream, args, form_of(args.bounds), ignored, partial);
}

void enqueue_sequence_loss(const PolicyLossGspoTokenArgs& args, const IgnoredTargets& ignored, LossSums* partial,
                           cudaStream_t stream) {
  if (args.sequences.B > 0)
    launch(gspo_token_sequence, one_block_each(args.sequences), stream, args, form_of(args.bounds), ignored, partial);
}

void enqueue_sequence_loss(const PolicyLossGmpoArgs& args, const IgnoredTargets& ignored, LossSums* partial,
                           cudaStream_t stream) {
  if (args.sequences.B > 0) launch(gmpo_sequence, one_block_each(args.sequences), stream, args, ignored, partial);
}

void enqueue_sequence_loss(const PolicyLossVespoArgs& args, const IgnoredTargets& ignored, LossSums* partial,
                           cudaStream_t stream) {
  if (args.sequences.B > 0) launch(vespo_sequence, one_block_each(args.sequences), stream, args, ignored, partial);
}

int32_t policy_loss_sequence_clip(const PolicyLossSequenceClipArgs* args, ScStream stream, ScError* error) {
  return run(*args, "policy_loss_sequence_clip", stream, error);
}

int32_t policy_loss_gspo_token(const PolicyLossGspoTokenArgs* args, ScStream stream, ScError* error) {
  return run(*args, "policy_loss_gspo_token", stream, error);
}

int32_t policy_loss_gmpo(const PolicyLossGmpoArgs* args, ScStream stream, ScError* error) {
  return run(*args, "policy_loss_gmpo", stream, error);
}

int32_t policy_loss_vespo(const PolicyLossVespoArgs* args, ScStream stream, ScError* error) {
  return run(*args, "policy_loss_vespo", stream, error);
}

}  // namespace gpu
