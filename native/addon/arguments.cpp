#include "arguments.h"

#include <cstdlib>
#include <initializer_list>

namespace {

template <class Member>
struct Element;
#define SC_ELEMENT(type, of)               \
  template <>                              \
  struct Element<type> {                   \
    static constexpr Kind kind = of;       \
    static constexpr bool written = false; \
  };
#define SC_ARRAY_ELEMENT(type, of)        \
  SC_ELEMENT(const type*, of)             \
  template <>                             \
  struct Element<type*> {                 \
    static constexpr Kind kind = of;      \
    static constexpr bool written = true; \
  };
SC_ELEMENT(int64_t, Kind::kInt64)
SC_ELEMENT(int32_t, Kind::kInt32)
SC_ELEMENT(float, Kind::kFloat)
SC_ELEMENT(double, Kind::kDouble)
SC_ARRAY_ELEMENT(float, Kind::kFloats)
SC_ARRAY_ELEMENT(int32_t, Kind::kInts)
SC_ARRAY_ELEMENT(double, Kind::kDoubles)
SC_ARRAY_ELEMENT(uint8_t, Kind::kBytes)
SC_ARRAY_ELEMENT(void, Kind::kValues)
#undef SC_ARRAY_ELEMENT
#undef SC_ELEMENT

template <class Member>
Field field(const char* name, size_t offset, const char* shape, bool optional, size_t dtype_offset = 0) {
  using Of = Element<Member>;
  return {name, Of::kind, optional, Of::written, static_cast<uint32_t>(offset), static_cast<uint32_t>(dtype_offset), shape, {}};
}

using Fields = std::vector<Field>;

Fields joined(std::initializer_list<Fields> lists) {
  Fields all;
  for (const Fields& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

// The fields of a record that lies at `base` inside another.
Fields inside(size_t base, Fields fields) {
  for (Field& each : fields) {
    each.offset += static_cast<uint32_t>(base);
    each.dtype_offset += static_cast<uint32_t>(base);
  }
  return fields;
}

// One factor of a shape: a number, or a size with "+1", "/2" or "/8" after it.
Factor factor_of(const std::string& word, const Fields& fields) {
  const size_t end = word.find_first_of("+/");
  const std::string name = word.substr(0, end);
  Factor factor = {-1, 1, 0, 1};
  if (end != std::string::npos) (word[end] == '+' ? factor.plus : factor.per) = atoll(word.c_str() + end + 1);
  if (name[0] >= '0' && name[0] <= '9') {
    factor.times = atoll(name.c_str());
    return factor;
  }
  for (const Field& each : fields)  // the first of that name: it is filled before all arrays that it shapes
    if (factor.offset < 0 && each.kind == Kind::kInt64 && name == each.name) factor.offset = static_cast<int32_t>(each.offset);
  if (factor.offset < 0) abort();  // a shape of this file that names no size: found by the first load of the addon
  return factor;
}

OpEntry entry(const char* name, size_t function_offset, Fields fields) {
  for (Field& each : fields) {
    const std::string shape = each.shape;
    for (size_t begin = 0; begin < shape.size();) {
      const size_t end = shape.find(' ', begin) == std::string::npos ? shape.size() : shape.find(' ', begin);
      each.factors.push_back(factor_of(shape.substr(begin, end - begin), fields));
      begin = end + 1;
    }
  }
  return {name, function_offset, std::move(fields)};
}

#define NUMBER(js, member) field<decltype(Record::member)>(js, offsetof(Record, member), "", false)
#define ARRAY(js, member, shape) field<decltype(Record::member)>(js, offsetof(Record, member), shape, false)
#define OPTIONAL(js, member, shape) field<decltype(Record::member)>(js, offsetof(Record, member), shape, true)
#define VALUES(js, member, shape, dtype) \
  field<decltype(Record::member)>(js, offsetof(Record, member), shape, false, offsetof(Record, dtype))
#define OP(op, ...) table->push_back(entry(#op, offsetof(ScBackend, op), joined({__VA_ARGS__})))

Fields loss_targets() {
  using Record = PolicyLossTargets;
  return {NUMBER("N", N),
          NUMBER("advantageColumns", advantage_columns),
          NUMBER("klKind", kl_kind),
          NUMBER("klTimesRatio", kl_times_ratio),
          NUMBER("logRatioClamp", log_ratio_clamp),
          NUMBER("klCoefficient", kl_coef),
          NUMBER("klLogRatioClamp", kl_log_ratio_clamp),
          NUMBER("klValueClamp", kl_value_clamp),
          ARRAY("logprobs", logprobs, "N"),
          ARRAY("oldLogprobs", old_logprobs, "N"),
          OPTIONAL("refLogprobs", ref_logprobs, "N"),
          ARRAY("advantages", advantages, "N advantageColumns"),
          ARRAY("weights", weights, "N"),
          OPTIONAL("multipliers", multipliers, "N"),
          ARRAY("dlogprobs", dlogprobs, "N"),
          OPTIONAL("ratios", ratios, "N"),
          ARRAY("metrics", metrics, "12")};
}
static_assert(kLossMetrics == 12, "the length of metrics above");

template <class Record>
Fields sequences() {
  return {NUMBER("B", sequences.B), ARRAY("sequenceOffsets", sequences.offsets, "B+1")};
}

template <class Record>
Fields clip_bounds() {
  return {NUMBER("epsLow", bounds.eps_low), NUMBER("epsHigh", bounds.eps_high), NUMBER("delta", bounds.delta),
          NUMBER("dualClip", bounds.dual_clip)};
}

Fields logit_rows() {
  using Record = LogitRows;
  return {NUMBER("T", T),
          NUMBER("N", N),
          NUMBER("V", V),
          NUMBER("dtype", dtype),
          NUMBER("ignoreIndex", ignore_index),
          NUMBER("temperature", temperature),
          NUMBER("logitScale", logit_scale),
          NUMBER("softcap", softcap),
          VALUES("logits", logits, "T V", dtype),
          ARRAY("targetOffsets", target_offsets, "T+1"),
          ARRAY("targets", targets, "N"),
          OPTIONAL("temperatures", temperatures, "T"),
          OPTIONAL("keep", keep, "T V/8")};
}

Fields head_rows() {
  using Record = HeadRows;
  return {NUMBER("T", T),
          NUMBER("N", N),
          NUMBER("V", V),
          NUMBER("H", H),
          NUMBER("portable", portable),
          NUMBER("hiddenDtype", hidden_dtype),
          NUMBER("weightDtype", weight_dtype),
          NUMBER("ignoreIndex", ignore_index),
          NUMBER("temperature", temperature),
          NUMBER("logitScale", logit_scale),
          NUMBER("softcap", softcap),
          VALUES("hidden", hidden, "T H", hidden_dtype),
          VALUES("weight", weight, "V H", weight_dtype),
          OPTIONAL("bias", bias, "V"),
          ARRAY("targetOffsets", target_offsets, "T+1"),
          ARRAY("targets", targets, "N"),
          OPTIONAL("temperatures", temperatures, "T")};
}

void add_logprobs(std::vector<OpEntry>* table) {
  {
    using Record = LogprobsArgs;
    OP(logprobs, inside(offsetof(Record, rows), logit_rows()),
       {ARRAY("lse", lse, "T"), ARRAY("logprobs", logprobs, "N"), OPTIONAL("entropy", entropy, "T"),
        OPTIONAL("sumSquares", sum_squares, "T")});
  }
  {
    using Record = LogprobsBackwardArgs;
    OP(logprobs_backward, inside(offsetof(Record, rows), logit_rows()),
       {ARRAY("lse", lse, "T"), OPTIONAL("entropy", entropy, "T"), ARRAY("dlogprobs", dlogprobs, "N"),
        OPTIONAL("dentropy", dentropy, "T"), VALUES("dlogits", dlogits, "T V", rows.dtype)});
  }
  {
    using Record = LinearLogprobsArgs;
    OP(linear_logprobs, inside(offsetof(Record, head), head_rows()),
       {ARRAY("lse", lse, "T"), ARRAY("logprobs", logprobs, "N"), OPTIONAL("entropy", entropy, "T")});
  }
  {
    using Record = LinearLogprobsBackwardArgs;
    OP(linear_logprobs_backward, inside(offsetof(Record, head), head_rows()),
       {ARRAY("lse", lse, "T"), ARRAY("logprobs", logprobs, "N"), OPTIONAL("entropy", entropy, "T"),
        ARRAY("dlogprobs", dlogprobs, "N"), OPTIONAL("dentropy", dentropy, "T"), OPTIONAL("dhidden", dhidden, "T H"),
        OPTIONAL("dweight", dweight, "V H"), OPTIONAL("dbias", dbias, "V")});
  }
}

void add_losses(std::vector<OpEntry>* table) {
  {
    using Record = ScatterAdvantagesArgs;
    OP(scatter_advantages, {NUMBER("N", N), NUMBER("S", S), ARRAY("stepCredits", step_credits, "S 2"),
                            ARRAY("stepOf", step_of, "N"), ARRAY("advantages", advantages, "N 2")});
  }
  {
    using Record = ScatterAdvantagesBackwardArgs;
    OP(scatter_advantages_backward, {NUMBER("N", N), NUMBER("S", S), ARRAY("dadvantages", dadvantages, "N 2"),
                                     ARRAY("stepOf", step_of, "N"), ARRAY("dstepCredits", dstep_credits, "S 2")});
  }
  {
    using Record = ScatterByOffsetsArgs;
    OP(scatter_advantages_by_offsets, {NUMBER("N", N), NUMBER("S", S), ARRAY("stepCredits", step_credits, "S 2"),
                                       ARRAY("stepOffsets", step_offsets, "S+1"), ARRAY("advantages", advantages, "N 2")});
  }
  {
    using Record = ScatterByOffsetsBackwardArgs;
    OP(scatter_advantages_by_offsets_backward,
       {NUMBER("N", N), NUMBER("S", S), ARRAY("dadvantages", dadvantages, "N 2"), ARRAY("stepOffsets", step_offsets, "S+1"),
        ARRAY("dstepCredits", dstep_credits, "S 2")});
  }
  {
    using Record = KlArgs;
    OP(kl, {NUMBER("N", N), NUMBER("kind", kind), NUMBER("logRatioClamp", log_ratio_clamp), NUMBER("valueClamp", value_clamp),
            ARRAY("logprobs", logprobs, "N"), ARRAY("refLogprobs", ref_logprobs, "N"), OPTIONAL("dkl", dkl, "N"),
            ARRAY("kl", kl, "N"), ARRAY("dlogprobs", dlogprobs, "N")});
  }
  {
    using Record = ValueLossArgs;
    OP(value_loss, {NUMBER("N", N), NUMBER("clip", clip), ARRAY("values", values, "N"), OPTIONAL("oldValues", old_values, "N"),
                    ARRAY("returns", returns, "N"), ARRAY("weights", weights, "N"), ARRAY("dvalues", dvalues, "N"),
                    ARRAY("metrics", metrics, "3")});
    static_assert(kValueLossMetrics == 3, "the length of metrics above");
  }
}

template <class Record>
Fields update() {
  return joined({inside(offsetof(Record, rows), logit_rows()),
                 {OPTIONAL("entropyWeights", entropy_weights, "T"), ARRAY("logprobs", logprobs, "N"), ARRAY("lse", lse, "T"),
                  OPTIONAL("entropy", entropy, "T"), VALUES("dlogits", dlogits, "T V", rows.dtype)}});
}

// A form of the policy loss: by itself, and fused with the logits. What it takes besides its targets is listed.
#define LOSS(form, Loss, ...)                                                                     \
  {                                                                                               \
    using Record = Loss;                                                                          \
    using Update = PolicyUpdateArgs<Loss>;                                                        \
    const Fields loss = joined({inside(offsetof(Record, targets), loss_targets()), __VA_ARGS__}); \
    OP(policy_loss_##form, loss);                                                                 \
    OP(policy_update_##form, inside(offsetof(Update, loss), loss), update<Update>());             \
  }

void add_policy_losses(std::vector<OpEntry>* table) {
  LOSS(clip, PolicyLossClipArgs, clip_bounds<Record>())
  LOSS(sequence_clip, PolicyLossSequenceClipArgs, sequences<Record>(), clip_bounds<Record>())
  LOSS(gspo_token, PolicyLossGspoTokenArgs, sequences<Record>(), clip_bounds<Record>(),
       Fields{NUMBER("sequenceLogRatioMax", sequence_log_ratio_max)})
  LOSS(cispo, PolicyLossCispoArgs, Fields{NUMBER("ratioMin", ratio_min), NUMBER("ratioMax", ratio_max)})
  LOSS(sapo, PolicyLossSapoArgs, Fields{NUMBER("tauPositive", tau_positive), NUMBER("tauNegative", tau_negative)})
  LOSS(reinforce, PolicyLossReinforceArgs, Fields{})
  LOSS(dppo_tv, PolicyLossDppoArgs,
       Fields{NUMBER("epsLow", eps_low), NUMBER("epsHigh", eps_high), NUMBER("ratioCap", ratio_cap)})
  LOSS(dppo_kl, PolicyLossDppoArgs,
       Fields{NUMBER("epsLow", eps_low), NUMBER("epsHigh", eps_high), NUMBER("ratioCap", ratio_cap)})
  LOSS(gmpo, PolicyLossGmpoArgs, sequences<Record>(), Fields{NUMBER("epsLow", eps_low), NUMBER("epsHigh", eps_high)})
  LOSS(vespo, PolicyLossVespoArgs, sequences<Record>(),
       Fields{NUMBER("kPositive", k_positive), NUMBER("lambdaPositive", lambda_positive), NUMBER("kNegative", k_negative),
              NUMBER("lambdaNegative", lambda_negative), NUMBER("tokenLogRatioMax", token_log_ratio_max),
              NUMBER("logWeightMin", log_weight_min), NUMBER("logWeightMax", log_weight_max),
              OPTIONAL("logWeights", log_weights, "B")})
}

void add_optimizer_and_sampling(std::vector<OpEntry>* table) {
  {
    using Record = GradNormArgs;
    OP(grad_norm, {NUMBER("count", count), ARRAY("grads", grads, "count"), ARRAY("norm", norm, "1")});
  }
  {
    using Record = AdamwArgs;
    OP(adamw,
       {NUMBER("count", count), NUMBER("step", step), NUMBER("lr", lr), NUMBER("beta1", beta1), NUMBER("beta2", beta2),
        NUMBER("eps", eps), NUMBER("weightDecay", weight_decay), NUMBER("gradScale", grad_scale),
        ARRAY("grads", grads, "count"), ARRAY("params", params, "count"), ARRAY("m", m, "count"), ARRAY("v", v, "count")});
  }
  {
    using Record = SampleArgs;
    OP(sample,
       {NUMBER("R", R), NUMBER("V", V), NUMBER("dtype", dtype), NUMBER("topK", top_k), NUMBER("temperature", temperature),
        NUMBER("topP", top_p), NUMBER("minP", min_p), NUMBER("seed", seed), VALUES("logits", logits, "R V", dtype),
        ARRAY("streams", streams, "R"), ARRAY("positions", positions, "R"), ARRAY("tokens", tokens, "R"),
        ARRAY("logprobs", logprobs, "R"), OPTIONAL("supportLogprobs", support_logprobs, "R")});
  }
}

template <class Record>
Fields linear_layer() {
  return {NUMBER("T", T),
          NUMBER("I", I),
          NUMBER("O", O),
          NUMBER("accumulate", accumulate),
          NUMBER("portable", portable),
          NUMBER("weightDtype", weight_dtype),
          ARRAY("x", x, "T I"),
          VALUES("weight", weight, "O I", weight_dtype)};
}

void add_model(std::vector<OpEntry>* table) {
  {
    using Record = EmbedArgs;
    OP(embed,
       {NUMBER("T", T), NUMBER("V", V), NUMBER("H", H), NUMBER("accumulate", accumulate), NUMBER("tableDtype", table_dtype),
        VALUES("table", table, "V H", table_dtype), ARRAY("ids", ids, "T"), ARRAY("out", out, "T H")});
  }
  {
    using Record = EmbedBackwardArgs;
    OP(embed_backward, {NUMBER("T", T), NUMBER("V", V), NUMBER("H", H), ARRAY("ids", ids, "T"), ARRAY("dout", dout, "T H"),
                        ARRAY("dtable", dtable, "V H")});
  }
  {
    using Record = LinearArgs;
    OP(linear, linear_layer<Record>(), {OPTIONAL("bias", bias, "O"), ARRAY("y", y, "T O")});
  }
  {
    using Record = LinearBackwardArgs;
    OP(linear_backward, linear_layer<Record>(),
       {ARRAY("dy", dy, "T O"), OPTIONAL("dx", dx, "T I"), OPTIONAL("dweight", dweight, "O I"), OPTIONAL("dbias", dbias, "O")});
  }
  {
    using Record = RmsNormArgs;
    OP(rms_norm, {NUMBER("T", T), NUMBER("H", H), NUMBER("eps", eps), ARRAY("x", x, "T H"), ARRAY("weight", weight, "H"),
                  ARRAY("y", y, "T H"), ARRAY("rrms", rrms, "T")});
  }
  {
    using Record = RmsNormBackwardArgs;
    OP(rms_norm_backward,
       {NUMBER("T", T), NUMBER("H", H), NUMBER("accumulate", accumulate), ARRAY("x", x, "T H"), ARRAY("weight", weight, "H"),
        ARRAY("rrms", rrms, "T"), ARRAY("dy", dy, "T H"), ARRAY("dx", dx, "T H"), ARRAY("dweight", dweight, "H")});
  }
  {
    using Record = RopeArgs;
    const Fields rotation = {NUMBER("T", T),
                             NUMBER("heads", heads),
                             NUMBER("D", D),
                             NUMBER("positions", positions),
                             ARRAY("depth", depth, "T"),
                             ARRAY("cosines", cosines, "positions D/2"),
                             ARRAY("sines", sines, "positions D/2"),
                             ARRAY("x", x, "T heads D")};
    OP(rope, rotation);
    OP(rope_backward, rotation);
  }
}

template <class Record>
Fields tree() {
  return {NUMBER("T", T),
          NUMBER("heads", heads),
          NUMBER("kvHeads", kv_heads),
          NUMBER("D", D),
          NUMBER("window", window),
          NUMBER("scale", scale),
          ARRAY("q", q, "T heads D"),
          ARRAY("k", k, "T kvHeads D"),
          ARRAY("v", v, "T kvHeads D"),
          ARRAY("subtreeEnd", subtree_end, "T"),
          ARRAY("out", out, "T heads D"),
          ARRAY("lse", lse, "T heads")};
}

void add_attention_and_gates(std::vector<OpEntry>* table) {
  OP(tree_attention, tree<TreeAttentionArgs>());
  {
    using Record = TreeAttentionBackwardArgs;
    OP(tree_attention_backward, tree<Record>(),
       {ARRAY("dout", dout, "T heads D"), ARRAY("dq", dq, "T heads D"), ARRAY("dk", dk, "T kvHeads D"),
        ARRAY("dv", dv, "T kvHeads D")});
  }
  {
    using Record = DecodeAttentionArgs;
    OP(decode_attention,
       {NUMBER("R", R), NUMBER("K", K), NUMBER("cached", cached), NUMBER("heads", heads), NUMBER("kvHeads", kv_heads),
        NUMBER("D", D), NUMBER("window", window), NUMBER("scale", scale), ARRAY("q", q, "R heads D"),
        ARRAY("keys", keys, "cached kvHeads D"), ARRAY("values", values, "cached kvHeads D"),
        ARRAY("slotOffsets", slot_offsets, "R+1"), ARRAY("slots", slots, "K"), ARRAY("out", out, "R heads D")});
  }
  {
    using Record = SwigluArgs;
    OP(swiglu, {NUMBER("count", count), ARRAY("gate", gate, "count"), ARRAY("up", up, "count"), ARRAY("out", out, "count")});
  }
  {
    using Record = SwigluBackwardArgs;
    OP(swiglu_backward, {NUMBER("count", count), ARRAY("gate", gate, "count"), ARRAY("up", up, "count"),
                         ARRAY("dout", dout, "count"), ARRAY("dgate", dgate, "count"), ARRAY("dup", dup, "count")});
  }
}

}  // namespace

const std::vector<OpEntry>& op_entries() {
  static const std::vector<OpEntry>* const entries = [] {
    auto* table = new std::vector<OpEntry>;
    add_logprobs(table);
    add_losses(table);
    add_policy_losses(table);
    add_optimizer_and_sampling(table);
    add_model(table);
    add_attention_and_gates(table);
    return table;
  }();
  return *entries;
}
