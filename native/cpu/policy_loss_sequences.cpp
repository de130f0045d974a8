// policy_loss_sequence_clip, policy_loss_gspo_token, policy_loss_gmpo, policy_loss_vespo: the forms that need their whole
// sequence before they know the loss of a target. A sequence is read two or three times, from cache.

#include "cpu.h"
#include "policy_loss_forms.h"

namespace SC_ISA {

namespace {

// The first sequence that starts at `target` or later.
int64_t first_sequence(const SequenceSpans& sequences, int64_t target) {
  int64_t low = 0, high = sequences.B;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (sequences.offsets[middle] < target) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// body(first, last, sums) for every sequence. A chunk owns the sequences that start in its block of targets, so its bounds
// depend on the shapes alone.
template <class Body>
int32_t loss_of_sequences(const SequenceSpans& sequences, const PolicyLossTargets& args, ScError* error, const char* no_memory,
                          const Body& body) {
  const int64_t chunks = (args.N + kTargetBlock - 1) / kTargetBlock;
  return with_loss_sums(chunks, args.metrics, error, no_memory, [&](int64_t chunk, LossSums* sums) {
    LaneSums lanes = {};
    const int64_t end = first_sequence(sequences, (chunk + 1) * kTargetBlock);
    for (int64_t b = first_sequence(sequences, chunk * kTargetBlock); b < end; ++b)
      body(b, sequences.offsets[b], sequences.offsets[b + 1], &lanes);
    reduce(lanes, sums);
  });
}

// Number and mean log ratio of the present targets of a sequence.
struct SequenceRatio {
  double present;
  float mean;
};

SequenceRatio sequence_ratio(const PolicyLossTargets& args, int64_t first, int64_t last) {
  VecD sum = {};
  LaneCount count = {};
  each_group(args, first, last, [&](const Group& group) {
    add_lanes(&sum, log_ratio(args, group).x);
    count.add(group.present);
  });
  const double present = static_cast<double>(count.sum());
  return {present, present > 0.0 ? static_cast<float>(sum_lanes(sum) / present) : 0.0f};
}

// Adds to ∂loss/∂logprobs of the lanes in `mask`.
void add_slope(const PolicyLossTargets& args, const Group& group, Mask mask, VecF slope) {
  const VecF before = load_first(args.dlogprobs + group.n, group.count);
  store_first(args.dlogprobs + group.n, pick(group.present & mask, saturated(before + slope) + VecF{}, before), group.count);
}

// exp(x), at most the largest float.
float saturated_exp(double x) {
  const double e = ::exp(x);
  return e > static_cast<double>(FLT_MAX) ? FLT_MAX : static_cast<float>(e);
}

void clip_sequence(const PolicyLossTargets& args, const ClipForm& form, int64_t first, int64_t last, LaneSums* sums) {
  const SequenceRatio of_sequence = sequence_ratio(args, first, last);
  const Mask all = ~Mask{};
  VecD shared_slope = {};  // ∂loss/∂(mean log ratio): every target of the sequence receives 1/present of it
  each_group(args, first, last, [&](const Group& group) {
    const VecF logprob = group.of(args.logprobs);
    const VecF x = where(group.present, splat(of_sequence.mean));
    const Target target = at_log_ratio(logprob, group.of(args.old_logprobs), x, all);
    write_ratios(args, target, group);
    Value loss = surrogate(args, form, target, group, sums);
    VecF direct = {};
    if (args.kl_kind != kKlNone) {
      const KlShare kl = kl_share(args, target, group, sums);
      loss = {saturated(loss.value + kl.value), saturated(loss.slope + kl.through_ratio)};
      direct = saturated(group.weight * kl.direct);
    }
    add_products(&sums->loss, group.weight, loss.value);
    add_products(&shared_slope, group.weight, loss.slope);
    store_first(args.dlogprobs + group.n, where(group.present, direct + VecF{}), group.count);
  });
  if (of_sequence.present == 0.0) return;
  const VecF share = splat(static_cast<float>(sum_lanes(shared_slope) / of_sequence.present));
  each_group(args, first, last, [&](const Group& group) { add_slope(args, group, log_ratio(args, group).inside, share); });
}

void gspo_token_sequence(const PolicyLossGspoTokenArgs& gspo, const ClipForm& form, int64_t first, int64_t last,
                         LaneSums* sums) {
  const PolicyLossTargets& args = gspo.targets;
  const float mean = sequence_ratio(args, first, last).mean, most = gspo.sequence_log_ratio_max;
  const bool held = mean > most;
  each_group(args, first, last, [&](const Group& group) {
    const VecF logprob = group.of(args.logprobs), old_logprob = group.of(args.old_logprobs);
    const Mask inside = held ? Mask{} : log_ratio(args, logprob, old_logprob).inside;
    const VecF x = where(group.present, splat(held ? most : mean));
    const Target target = at_log_ratio(logprob, old_logprob, x, inside);
    write_ratios(args, target, group);
    weigh(args, target, group, surrogate(args, form, target, group, sums), sums);
  });
}

// Advantages and bounded log ratios of a group of policy_loss_gmpo.
struct BoundedRatios {
  VecF advantage;
  LogRatio ratio;
  VecF y;
  Mask free;  // A ≠ 0 and no bound holds y
};

BoundedRatios bounded_ratios(const PolicyLossGmpoArgs& gmpo, const Group& group) {
  const PolicyLossTargets& args = gmpo.targets;
  VecF positive = {}, negative = {};
  if (args.advantage_columns == 1) {
    positive = load_first(args.advantages + group.n, group.count);
  } else {
    load_pairs(args.advantages + 2 * group.n, group.count, &positive, &negative);
  }
  const VecF zero = {}, high = splat(gmpo.eps_high), low = splat(-gmpo.eps_low);
  const VecF advantage = where(group.present, positive + negative);
  const LogRatio ratio = log_ratio(args, group);
  const Mask up = above(advantage, zero), down = below(advantage, zero);
  const Mask bound = (up & above(ratio.x, high)) | (down & below(ratio.x, low));
  const VecF y = pick(bound, pick(up, high, low), ratio.x);
  return {advantage, ratio, where(up | down, y), (up | down) & ~bound};
}

void gmpo_sequence(const PolicyLossGmpoArgs& gmpo, int64_t first, int64_t last, LaneSums* sums) {
  const PolicyLossTargets& args = gmpo.targets;
  VecD advantage_sum = {}, log_sum = {};
  LaneCount count = {};
  each_group(args, first, last, [&](const Group& group) {
    const BoundedRatios bounded = bounded_ratios(gmpo, group);
    add_lanes(&advantage_sum, bounded.advantage);
    add_lanes(&log_sum, bounded.y);
    count.add(group.present);
  });
  const double present = static_cast<double>(count.sum()), divisor = present > 0.0 ? present : 1.0;
  const VecF mean_advantage = splat(static_cast<float>(sum_lanes(advantage_sum) / divisor));
  const VecF loss = saturated(-mean_advantage * splat(saturated_exp(sum_lanes(log_sum) / divisor)));
  VecD carried = {};  // Σ weights · multipliers: how often the loss of the sequence counts
  each_group(args, first, last, [&](const Group& group) {
    const BoundedRatios bounded = bounded_ratios(gmpo, group);
    const Target target =
        at_log_ratio(group.of(args.logprobs), group.of(args.old_logprobs), bounded.ratio.x, bounded.ratio.inside);
    write_ratios(args, target, group);
    const Mask up = above(bounded.advantage, VecF{}), down = below(bounded.advantage, VecF{});
    const Mask outside = below(bounded.ratio.x, splat(-gmpo.eps_low)) | above(bounded.ratio.x, splat(gmpo.eps_high));
    count_targets(target, {(up | down) & ~bounded.free, outside & down, outside & up, Mask{}}, group, sums);
    const Value share = multiplied(args, group, {loss, splat(1.0f)});
    weigh(args, target, group, {share.value, VecF{}}, sums);
    add_products(&carried, group.weight, share.slope);
  });
  const VecF slope = saturated(splat(static_cast<float>(sum_lanes(carried) * static_cast<double>(loss[0]) / divisor)));
  each_group(args, first, last, [&](const Group& group) {
    const BoundedRatios bounded = bounded_ratios(gmpo, group);
    add_slope(args, group, bounded.free & bounded.ratio.inside, slope);
  });
}

// −φ A logprob with the φ of the advantage's sign.
struct VespoForm {
  float positive, negative;

  Value operator()(VecF advantage, const Target& target, Decisions*) const {
    return weighted_logprob(pick(above(advantage, VecF{}), splat(positive), splat(negative)), advantage, target.logprob);
  }
};

VespoForm vespo_form(const PolicyLossVespoArgs& vespo, int64_t b, int64_t first, int64_t last) {
  const PolicyLossTargets& args = vespo.targets;
  const VecF most = splat(vespo.token_log_ratio_max);
  VecD sum = {};
  each_group(args, first, last,
             [&](const Group& group) { add_lanes(&sum, held_between(-most, most, log_ratio(args, group).x)); });
  const double low = static_cast<double>(vespo.log_weight_min), high = static_cast<double>(vespo.log_weight_max);
  double w = sum_lanes(sum) + (vespo.log_weights ? static_cast<double>(vespo.log_weights[b]) : 0.0);
  w = w < low ? low : w > high ? high : w;
  const auto phi = [&](float k, float lambda) {
    return saturated_exp(static_cast<double>(lambda) + static_cast<double>(k) * w - static_cast<double>(lambda) * ::exp(w));
  };
  return {phi(vespo.k_positive, vespo.lambda_positive), phi(vespo.k_negative, vespo.lambda_negative)};
}

}  // namespace

int32_t policy_loss_sequence_clip(const PolicyLossSequenceClipArgs* args, ScStream, ScError* error) {
  const ClipForm form = form_of(args->bounds);
  return loss_of_sequences(
      args->sequences, args->targets, error, "policy_loss_sequence_clip: no memory for the partial sums",
      [&](int64_t, int64_t first, int64_t last, LaneSums* sums) { clip_sequence(args->targets, form, first, last, sums); });
}

int32_t policy_loss_gspo_token(const PolicyLossGspoTokenArgs* args, ScStream, ScError* error) {
  const ClipForm form = form_of(args->bounds);
  return loss_of_sequences(
      args->sequences, args->targets, error, "policy_loss_gspo_token: no memory for the partial sums",
      [&](int64_t, int64_t first, int64_t last, LaneSums* sums) { gspo_token_sequence(*args, form, first, last, sums); });
}

int32_t policy_loss_gmpo(const PolicyLossGmpoArgs* args, ScStream, ScError* error) {
  return loss_of_sequences(
      args->sequences, args->targets, error, "policy_loss_gmpo: no memory for the partial sums",
      [&](int64_t, int64_t first, int64_t last, LaneSums* sums) { gmpo_sequence(*args, first, last, sums); });
}

int32_t policy_loss_vespo(const PolicyLossVespoArgs* args, ScStream, ScError* error) {
  return loss_of_sequences(args->sequences, args->targets, error, "policy_loss_vespo: no memory for the partial sums",
                           [&](int64_t b, int64_t first, int64_t last, LaneSums* sums) {
                             const VespoForm form = vespo_form(*args, b, first, last);
                             loss_of_span(args->targets, form, first, last, sums);
                           });
}

}  // namespace SC_ISA
