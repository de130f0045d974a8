#include "arguments.h"

namespace {

// Field lists are written with member pointers' offsets; a record is standard layout, so offsetof is defined.
using K = Kind;

std::vector<Field> target_fields(size_t base, bool with_logprobs) {
#define AT(member) static_cast<uint32_t>(base + offsetof(PolicyLossTargets, member))
  std::vector<Field> fields = {
      {"N", K::kInt64, false, AT(N)},
      {"klKind", K::kInt32, false, AT(kl_kind)},
      {"klTimesRatio", K::kInt32, false, AT(kl_times_ratio)},
      {"logRatioClamp", K::kFloat, false, AT(log_ratio_clamp)},
      {"klCoefficient", K::kFloat, false, AT(kl_coef)},
      {"klLogRatioClamp", K::kFloat, false, AT(kl_log_ratio_clamp)},
      {"klValueClamp", K::kFloat, false, AT(kl_value_clamp)},
      {"oldLogprobs", K::kFloats, false, AT(old_logprobs)},
      {"refLogprobs", K::kFloats, true, AT(ref_logprobs)},
      {"advantages", K::kFloats, false, AT(advantages)},
      {"weights", K::kFloats, false, AT(weights)},
      {"multipliers", K::kFloats, true, AT(multipliers)},
      {"dlogprobs", K::kFloats, false, AT(dlogprobs)},
      {"ratios", K::kFloats, true, AT(ratios)},
      {"metrics", K::kDoubles, false, AT(metrics)},
  };
  if (with_logprobs) fields.push_back({"logprobs", K::kFloats, false, AT(logprobs)});
#undef AT
  return fields;
}

std::vector<Field> with(std::vector<Field> fields, const std::vector<Field>& more) {
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

std::vector<Field> loss_fields(size_t base, bool with_logprobs) {
#define AT(member) static_cast<uint32_t>(base + offsetof(PolicyLossArgs, member))
  return with({{"epsLow", K::kFloat, false, AT(eps_low)},
               {"epsHigh", K::kFloat, false, AT(eps_high)},
               {"delta", K::kFloat, false, AT(delta)},
               {"dualClip", K::kFloat, false, AT(dual_clip)}},
              target_fields(base + offsetof(PolicyLossArgs, targets), with_logprobs));
#undef AT
}

}  // namespace

const std::vector<OpEntry>& op_entries() {
#define AT(member) static_cast<uint32_t>(offsetof(Record, member))
#define OP(op) #op, sizeof(Record), offsetof(ScBackend, op)
  static const std::vector<OpEntry>* const entries = [] {
    auto* table = new std::vector<OpEntry>;
    {
      using Record = LogprobsArgs;
      table->push_back({OP(logprobs),
                        {{"T", K::kInt64, false, AT(T)},
                         {"N", K::kInt64, false, AT(N)},
                         {"V", K::kInt64, false, AT(V)},
                         {"temperature", K::kFloat, false, AT(temperature)},
                         {"logits", K::kFloats, false, AT(logits)},
                         {"targetOffsets", K::kInts, false, AT(target_offsets)},
                         {"targets", K::kInts, false, AT(targets)},
                         {"temperatures", K::kFloats, true, AT(temperatures)},
                         {"lse", K::kFloats, false, AT(lse)},
                         {"logprobs", K::kFloats, false, AT(logprobs)},
                         {"entropy", K::kFloats, true, AT(entropy)},
                         {"sumSquares", K::kFloats, true, AT(sum_squares)}}});
    }
    {
      using Record = LogprobsBackwardArgs;
      table->push_back({OP(logprobs_backward),
                        {{"T", K::kInt64, false, AT(T)},
                         {"N", K::kInt64, false, AT(N)},
                         {"V", K::kInt64, false, AT(V)},
                         {"temperature", K::kFloat, false, AT(temperature)},
                         {"logits", K::kFloats, false, AT(logits)},
                         {"targetOffsets", K::kInts, false, AT(target_offsets)},
                         {"targets", K::kInts, false, AT(targets)},
                         {"temperatures", K::kFloats, true, AT(temperatures)},
                         {"lse", K::kFloats, false, AT(lse)},
                         {"entropy", K::kFloats, true, AT(entropy)},
                         {"dlogprobs", K::kFloats, false, AT(dlogprobs)},
                         {"dentropy", K::kFloats, true, AT(dentropy)},
                         {"dlogits", K::kFloats, false, AT(dlogits)}}});
    }
    {
      using Record = LinearLogprobsArgs;
      table->push_back({OP(linear_logprobs),
                        {{"T", K::kInt64, false, AT(T)},
                         {"N", K::kInt64, false, AT(N)},
                         {"V", K::kInt64, false, AT(V)},
                         {"H", K::kInt64, false, AT(H)},
                         {"portable", K::kInt32, false, AT(portable)},
                         {"temperature", K::kFloat, false, AT(temperature)},
                         {"logitScale", K::kFloat, false, AT(logit_scale)},
                         {"softcap", K::kFloat, false, AT(softcap)},
                         {"hidden", K::kFloats, false, AT(hidden)},
                         {"weight", K::kFloats, false, AT(weight)},
                         {"bias", K::kFloats, true, AT(bias)},
                         {"targetOffsets", K::kInts, false, AT(target_offsets)},
                         {"targets", K::kInts, false, AT(targets)},
                         {"temperatures", K::kFloats, true, AT(temperatures)},
                         {"lse", K::kFloats, false, AT(lse)},
                         {"logprobs", K::kFloats, false, AT(logprobs)},
                         {"entropy", K::kFloats, true, AT(entropy)}}});
    }
    {
      using Record = LinearLogprobsBackwardArgs;
      table->push_back({OP(linear_logprobs_backward),
                        {{"T", K::kInt64, false, AT(T)},
                         {"N", K::kInt64, false, AT(N)},
                         {"V", K::kInt64, false, AT(V)},
                         {"H", K::kInt64, false, AT(H)},
                         {"portable", K::kInt32, false, AT(portable)},
                         {"temperature", K::kFloat, false, AT(temperature)},
                         {"logitScale", K::kFloat, false, AT(logit_scale)},
                         {"softcap", K::kFloat, false, AT(softcap)},
                         {"hidden", K::kFloats, false, AT(hidden)},
                         {"weight", K::kFloats, false, AT(weight)},
                         {"bias", K::kFloats, true, AT(bias)},
                         {"targetOffsets", K::kInts, false, AT(target_offsets)},
                         {"targets", K::kInts, false, AT(targets)},
                         {"temperatures", K::kFloats, true, AT(temperatures)},
                         {"lse", K::kFloats, false, AT(lse)},
                         {"logprobs", K::kFloats, false, AT(logprobs)},
                         {"entropy", K::kFloats, true, AT(entropy)},
                         {"dlogprobs", K::kFloats, false, AT(dlogprobs)},
                         {"dentropy", K::kFloats, true, AT(dentropy)},
                         {"dhidden", K::kFloats, true, AT(dhidden)},
                         {"dweight", K::kFloats, true, AT(dweight)},
                         {"dbias", K::kFloats, true, AT(dbias)}}});
    }
    {
      using Record = ScatterAdvantagesArgs;
      table->push_back({OP(scatter_advantages),
                        {{"N", K::kInt64, false, AT(N)},
                         {"S", K::kInt64, false, AT(S)},
                         {"stepCredits", K::kFloats, false, AT(step_credits)},
                         {"stepOf", K::kInts, false, AT(step_of)},
                         {"advantages", K::kFloats, false, AT(advantages)}}});
    }
    {
      using Record = ScatterAdvantagesBackwardArgs;
      table->push_back({OP(scatter_advantages_backward),
                        {{"N", K::kInt64, false, AT(N)},
                         {"S", K::kInt64, false, AT(S)},
                         {"dadvantages", K::kFloats, false, AT(dadvantages)},
                         {"stepOf", K::kInts, false, AT(step_of)},
                         {"dstepCredits", K::kFloats, false, AT(dstep_credits)}}});
    }
    {
      using Record = KlArgs;
      table->push_back({OP(kl),
                        {{"N", K::kInt64, false, AT(N)},
                         {"kind", K::kInt32, false, AT(kind)},
                         {"logRatioClamp", K::kFloat, false, AT(log_ratio_clamp)},
                         {"valueClamp", K::kFloat, false, AT(value_clamp)},
                         {"logprobs", K::kFloats, false, AT(logprobs)},
                         {"refLogprobs", K::kFloats, false, AT(ref_logprobs)},
                         {"dkl", K::kFloats, true, AT(dkl)},
                         {"kl", K::kFloats, false, AT(kl)},
                         {"dlogprobs", K::kFloats, false, AT(dlogprobs)}}});
    }
    {
      using Record = PolicyLossArgs;
      table->push_back({OP(policy_loss_clip), loss_fields(0, true)});
    }
    {
      using Record = PolicyLossSequenceArgs;
      table->push_back({OP(policy_loss_sequence_clip),
                        with({{"B", K::kInt64, false, AT(B)}, {"sequenceOffsets", K::kInts, false, AT(sequence_offsets)}},
                             loss_fields(offsetof(Record, loss), true))});
    }
    {
      using Record = PolicyLossGspoTokenArgs;
      table->push_back(
          {OP(policy_loss_gspo_token), with({{"B", K::kInt64, false, AT(B)},
                                             {"sequenceOffsets", K::kInts, false, AT(sequence_offsets)},
                                             {"sequenceLogRatioMax", K::kFloat, false, AT(sequence_log_ratio_max)}},
                                            loss_fields(offsetof(Record, loss), true))});
    }
    {
      using Record = PolicyLossCispoArgs;
      table->push_back({OP(policy_loss_cispo),
                        with({{"ratioMin", K::kFloat, false, AT(ratio_min)}, {"ratioMax", K::kFloat, false, AT(ratio_max)}},
                             target_fields(offsetof(Record, targets), true))});
    }
    {
      using Record = PolicyLossSapoArgs;
      table->push_back({OP(policy_loss_sapo), with({{"tauPositive", K::kFloat, false, AT(tau_positive)},
                                                    {"tauNegative", K::kFloat, false, AT(tau_negative)}},
                                                   target_fields(offsetof(Record, targets), true))});
    }
    {
      using Record = PolicyLossReinforceArgs;
      table->push_back({OP(policy_loss_reinforce), target_fields(offsetof(Record, targets), true)});
    }
    {
      using Record = PolicyLossDppoArgs;
      table->push_back({OP(policy_loss_dppo_tv), with({{"epsLow", K::kFloat, false, AT(eps_low)},
                                                       {"epsHigh", K::kFloat, false, AT(eps_high)},
                                                       {"ratioCap", K::kFloat, false, AT(ratio_cap)}},
                                                      target_fields(offsetof(Record, targets), true))});
      table->push_back({OP(policy_loss_dppo_kl), with({{"epsLow", K::kFloat, false, AT(eps_low)},
                                                       {"epsHigh", K::kFloat, false, AT(eps_high)},
                                                       {"ratioCap", K::kFloat, false, AT(ratio_cap)}},
                                                      target_fields(offsetof(Record, targets), true))});
    }
    {
      using Record = PolicyLossGmpoArgs;
      table->push_back({OP(policy_loss_gmpo), with({{"B", K::kInt64, false, AT(B)},
                                                    {"sequenceOffsets", K::kInts, false, AT(sequence_offsets)},
                                                    {"epsLow", K::kFloat, false, AT(eps_low)},
                                                    {"epsHigh", K::kFloat, false, AT(eps_high)}},
                                                   target_fields(offsetof(Record, targets), true))});
    }
    {
      using Record = ValueLossArgs;
      table->push_back({OP(value_loss),
                        {{"N", K::kInt64, false, AT(N)},
                         {"clip", K::kFloat, false, AT(clip)},
                         {"values", K::kFloats, false, AT(values)},
                         {"oldValues", K::kFloats, true, AT(old_values)},
                         {"returns", K::kFloats, false, AT(returns)},
                         {"weights", K::kFloats, false, AT(weights)},
                         {"dvalues", K::kFloats, false, AT(dvalues)},
                         {"metrics", K::kDoubles, false, AT(metrics)}}});
    }
    {
      using Record = PolicyUpdateArgs;
      const std::vector<Field> fields = {
          {"T", K::kInt64, false, AT(T)},
          {"V", K::kInt64, false, AT(V)},
          {"temperature", K::kFloat, false, AT(temperature)},
          {"logits", K::kFloats, false, AT(logits)},
          {"targetOffsets", K::kInts, false, AT(target_offsets)},
          {"targets", K::kInts, false, AT(targets)},
          {"temperatures", K::kFloats, true, AT(temperatures)},
          {"entropyWeights", K::kFloats, true, AT(entropy_weights)},
          {"logprobs", K::kFloats, false, AT(logprobs)},
          {"lse", K::kFloats, false, AT(lse)},
          {"entropy", K::kFloats, true, AT(entropy)},
          {"dlogits", K::kFloats, false, AT(dlogits)},
      };
      table->push_back({OP(policy_update_clip), with(fields, loss_fields(offsetof(Record, loss), false))});
    }
    {
      using Record = GradNormArgs;
      table->push_back({OP(grad_norm),
                        {{"count", K::kInt64, false, AT(count)},
                         {"grads", K::kFloats, false, AT(grads)},
                         {"norm", K::kDoubles, false, AT(norm)}}});
    }
    {
      using Record = AdamwArgs;
      table->push_back({OP(adamw),
                        {{"count", K::kInt64, false, AT(count)},
                         {"step", K::kInt64, false, AT(step)},
                         {"lr", K::kDouble, false, AT(lr)},
                         {"beta1", K::kDouble, false, AT(beta1)},
                         {"beta2", K::kDouble, false, AT(beta2)},
                         {"eps", K::kDouble, false, AT(eps)},
                         {"weightDecay", K::kDouble, false, AT(weight_decay)},
                         {"gradScale", K::kDouble, false, AT(grad_scale)},
                         {"grads", K::kFloats, false, AT(grads)},
                         {"params", K::kFloats, false, AT(params)},
                         {"m", K::kFloats, false, AT(m)},
                         {"v", K::kFloats, false, AT(v)}}});
    }
    {
      using Record = SampleArgs;
      table->push_back({OP(sample),
                        {{"R", K::kInt64, false, AT(R)},
                         {"V", K::kInt64, false, AT(V)},
                         {"topK", K::kInt32, false, AT(top_k)},
                         {"temperature", K::kFloat, false, AT(temperature)},
                         {"topP", K::kFloat, false, AT(top_p)},
                         {"minP", K::kFloat, false, AT(min_p)},
                         {"seed", K::kDouble, false, AT(seed)},
                         {"logits", K::kFloats, false, AT(logits)},
                         {"streams", K::kInts, false, AT(streams)},
                         {"positions", K::kInts, false, AT(positions)},
                         {"tokens", K::kInts, false, AT(tokens)},
                         {"logprobs", K::kFloats, false, AT(logprobs)},
                         {"supportLogprobs", K::kFloats, true, AT(support_logprobs)}}});
    }
    {
      using Record = EmbedArgs;
      table->push_back({OP(embed),
                        {{"T", K::kInt64, false, AT(T)},
                         {"V", K::kInt64, false, AT(V)},
                         {"H", K::kInt64, false, AT(H)},
                         {"accumulate", K::kInt32, false, AT(accumulate)},
                         {"table", K::kFloats, false, AT(table)},
                         {"ids", K::kInts, false, AT(ids)},
                         {"out", K::kFloats, false, AT(out)}}});
    }
    {
      using Record = EmbedBackwardArgs;
      table->push_back({OP(embed_backward),
                        {{"T", K::kInt64, false, AT(T)},
                         {"V", K::kInt64, false, AT(V)},
                         {"H", K::kInt64, false, AT(H)},
                         {"ids", K::kInts, false, AT(ids)},
                         {"dout", K::kFloats, false, AT(dout)},
                         {"dtable", K::kFloats, false, AT(dtable)}}});
    }
    {
      using Record = LinearArgs;
      table->push_back({OP(linear),
                        {{"T", K::kInt64, false, AT(T)},
                         {"I", K::kInt64, false, AT(I)},
                         {"O", K::kInt64, false, AT(O)},
                         {"accumulate", K::kInt32, false, AT(accumulate)},
                         {"portable", K::kInt32, false, AT(portable)},
                         {"x", K::kFloats, false, AT(x)},
                         {"weight", K::kFloats, false, AT(weight)},
                         {"bias", K::kFloats, true, AT(bias)},
                         {"y", K::kFloats, false, AT(y)}}});
    }
    {
      using Record = LinearBackwardArgs;
      table->push_back({OP(linear_backward),
                        {{"T", K::kInt64, false, AT(T)},
                         {"I", K::kInt64, false, AT(I)},
                         {"O", K::kInt64, false, AT(O)},
                         {"accumulate", K::kInt32, false, AT(accumulate)},
                         {"portable", K::kInt32, false, AT(portable)},
                         {"x", K::kFloats, false, AT(x)},
                         {"weight", K::kFloats, false, AT(weight)},
                         {"dy", K::kFloats, false, AT(dy)},
                         {"dx", K::kFloats, true, AT(dx)},
                         {"dweight", K::kFloats, true, AT(dweight)},
                         {"dbias", K::kFloats, true, AT(dbias)}}});
    }
    {
      using Record = RmsNormArgs;
      table->push_back({OP(rms_norm),
                        {{"T", K::kInt64, false, AT(T)},
                         {"H", K::kInt64, false, AT(H)},
                         {"eps", K::kFloat, false, AT(eps)},
                         {"x", K::kFloats, false, AT(x)},
                         {"weight", K::kFloats, false, AT(weight)},
                         {"y", K::kFloats, false, AT(y)},
                         {"rrms", K::kFloats, false, AT(rrms)}}});
    }
    {
      using Record = RmsNormBackwardArgs;
      table->push_back({OP(rms_norm_backward),
                        {{"T", K::kInt64, false, AT(T)},
                         {"H", K::kInt64, false, AT(H)},
                         {"accumulate", K::kInt32, false, AT(accumulate)},
                         {"x", K::kFloats, false, AT(x)},
                         {"weight", K::kFloats, false, AT(weight)},
                         {"rrms", K::kFloats, false, AT(rrms)},
                         {"dy", K::kFloats, false, AT(dy)},
                         {"dx", K::kFloats, false, AT(dx)},
                         {"dweight", K::kFloats, false, AT(dweight)}}});
    }
    {
      using Record = RopeArgs;
      const std::vector<Field> fields = {
          {"T", K::kInt64, false, AT(T)},          {"heads", K::kInt64, false, AT(heads)},
          {"D", K::kInt64, false, AT(D)},          {"positions", K::kInt64, false, AT(positions)},
          {"depth", K::kInts, false, AT(depth)},   {"cosines", K::kFloats, false, AT(cosines)},
          {"sines", K::kFloats, false, AT(sines)}, {"x", K::kFloats, false, AT(x)},
      };
      table->push_back({OP(rope), fields});
      table->push_back({OP(rope_backward), fields});
    }
    {
      using Record = TreeAttentionArgs;
      table->push_back({OP(tree_attention),
                        {{"T", K::kInt64, false, AT(T)},
                         {"heads", K::kInt64, false, AT(heads)},
                         {"kvHeads", K::kInt64, false, AT(kv_heads)},
                         {"D", K::kInt64, false, AT(D)},
                         {"scale", K::kFloat, false, AT(scale)},
                         {"q", K::kFloats, false, AT(q)},
                         {"k", K::kFloats, false, AT(k)},
                         {"v", K::kFloats, false, AT(v)},
                         {"subtreeEnd", K::kInts, false, AT(subtree_end)},
                         {"out", K::kFloats, false, AT(out)},
                         {"lse", K::kFloats, false, AT(lse)}}});
    }
    {
      using Record = TreeAttentionBackwardArgs;
      table->push_back({OP(tree_attention_backward),
                        {{"T", K::kInt64, false, AT(T)},
                         {"heads", K::kInt64, false, AT(heads)},
                         {"kvHeads", K::kInt64, false, AT(kv_heads)},
                         {"D", K::kInt64, false, AT(D)},
                         {"scale", K::kFloat, false, AT(scale)},
                         {"q", K::kFloats, false, AT(q)},
                         {"k", K::kFloats, false, AT(k)},
                         {"v", K::kFloats, false, AT(v)},
                         {"subtreeEnd", K::kInts, false, AT(subtree_end)},
                         {"out", K::kFloats, false, AT(out)},
                         {"lse", K::kFloats, false, AT(lse)},
                         {"dout", K::kFloats, false, AT(dout)},
                         {"dq", K::kFloats, false, AT(dq)},
                         {"dk", K::kFloats, false, AT(dk)},
                         {"dv", K::kFloats, false, AT(dv)}}});
    }
    {
      using Record = DecodeAttentionArgs;
      table->push_back({OP(decode_attention),
                        {{"R", K::kInt64, false, AT(R)},
                         {"heads", K::kInt64, false, AT(heads)},
                         {"kvHeads", K::kInt64, false, AT(kv_heads)},
                         {"D", K::kInt64, false, AT(D)},
                         {"scale", K::kFloat, false, AT(scale)},
                         {"q", K::kFloats, false, AT(q)},
                         {"keys", K::kFloats, false, AT(keys)},
                         {"values", K::kFloats, false, AT(values)},
                         {"slotOffsets", K::kInts, false, AT(slot_offsets)},
                         {"slots", K::kInts, false, AT(slots)},
                         {"out", K::kFloats, false, AT(out)}}});
    }
    {
      using Record = SwigluArgs;
      table->push_back({OP(swiglu),
                        {{"count", K::kInt64, false, AT(count)},
                         {"gate", K::kFloats, false, AT(gate)},
                         {"up", K::kFloats, false, AT(up)},
                         {"out", K::kFloats, false, AT(out)}}});
    }
    {
      using Record = SwigluBackwardArgs;
      table->push_back({OP(swiglu_backward),
                        {{"count", K::kInt64, false, AT(count)},
                         {"gate", K::kFloats, false, AT(gate)},
                         {"up", K::kFloats, false, AT(up)},
                         {"dout", K::kFloats, false, AT(dout)},
                         {"dgate", K::kFloats, false, AT(dgate)},
                         {"dup", K::kFloats, false, AT(dup)}}});
    }
    return table;
  }();
#undef OP
#undef AT
  return *entries;
}
