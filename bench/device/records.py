"""The records of ops (native/ops.h) that the benches fill, with tensors of PyTorch for their arrays.

The fields are those of the header, in its order: one that is missing here shifts all that follow.
"""

import ctypes

i32, i64, f32, f64, pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_double, ctypes.c_void_p

DTYPES = {"f32": 0, "bf16": 1, "f16": 2}
LOSS_METRICS = 12


class LogitRows(ctypes.Structure):
    _fields_ = [
        ("T", i64),
        ("N", i64),
        ("V", i64),
        ("dtype", i32),
        ("ignore_index", i32),
        ("temperature", f32),
        ("logit_scale", f32),
        ("softcap", f32),
        ("logits", pointer),
        ("target_offsets", pointer),
        ("targets", pointer),
        ("temperatures", pointer),
        ("keep", pointer),
    ]


class Logprobs(ctypes.Structure):
    _fields_ = [("rows", LogitRows), ("lse", pointer), ("logprobs", pointer), ("entropy", pointer), ("sum_squares", pointer)]


class LogprobsBackward(ctypes.Structure):
    _fields_ = [
        ("rows", LogitRows),
        ("lse", pointer),
        ("entropy", pointer),
        ("dlogprobs", pointer),
        ("dentropy", pointer),
        ("dlogits", pointer),
    ]


class PolicyLossTargets(ctypes.Structure):
    _fields_ = [
        ("N", i64),
        ("advantage_columns", i64),
        ("kl_kind", i32),
        ("kl_times_ratio", i32),
        ("log_ratio_clamp", f32),
        ("kl_coef", f32),
        ("kl_log_ratio_clamp", f32),
        ("kl_value_clamp", f32),
        ("logprobs", pointer),
        ("old_logprobs", pointer),
        ("ref_logprobs", pointer),
        ("advantages", pointer),
        ("weights", pointer),
        ("multipliers", pointer),
        ("dlogprobs", pointer),
        ("ratios", pointer),
        ("metrics", pointer),
    ]


class PolicyLossClip(ctypes.Structure):
    _fields_ = [
        ("eps_low", f32),
        ("eps_high", f32),
        ("delta", f32),
        ("dual_clip", f32),
        ("targets", PolicyLossTargets),
    ]


class PolicyUpdateClip(ctypes.Structure):
    _fields_ = [
        ("rows", LogitRows),
        ("entropy_weights", pointer),
        ("logprobs", pointer),
        ("lse", pointer),
        ("entropy", pointer),
        ("dlogits", pointer),
        ("loss", PolicyLossClip),
    ]


class HeadRows(ctypes.Structure):
    _fields_ = [
        ("T", i64),
        ("N", i64),
        ("V", i64),
        ("H", i64),
        ("portable", i32),
        ("hidden_dtype", i32),
        ("weight_dtype", i32),
        ("ignore_index", i32),
        ("temperature", f32),
        ("logit_scale", f32),
        ("softcap", f32),
        ("hidden", pointer),
        ("weight", pointer),
        ("bias", pointer),
        ("target_offsets", pointer),
        ("targets", pointer),
        ("temperatures", pointer),
    ]


class LinearLogprobs(ctypes.Structure):
    _fields_ = [("head", HeadRows), ("lse", pointer), ("logprobs", pointer), ("entropy", pointer)]


class LinearLogprobsBackward(ctypes.Structure):
    _fields_ = [
        ("head", HeadRows),
        ("lse", pointer),
        ("logprobs", pointer),
        ("entropy", pointer),
        ("dlogprobs", pointer),
        ("dentropy", pointer),
        ("dhidden", pointer),
        ("dweight", pointer),
        ("dbias", pointer),
    ]


class ScatterAdvantages(ctypes.Structure):
    _fields_ = [("N", i64), ("S", i64), ("step_credits", pointer), ("step_of", pointer), ("advantages", pointer)]


class ScatterAdvantagesBackward(ctypes.Structure):
    _fields_ = [("N", i64), ("S", i64), ("dadvantages", pointer), ("step_of", pointer), ("dstep_credits", pointer)]


class Adamw(ctypes.Structure):
    _fields_ = [
        ("count", i64),
        ("step", i64),
        ("lr", f64),
        ("beta1", f64),
        ("beta2", f64),
        ("eps", f64),
        ("weight_decay", f64),
        ("grad_scale", f64),
        ("grads", pointer),
        ("params", pointer),
        ("m", pointer),
        ("v", pointer),
    ]


class Sample(ctypes.Structure):
    _fields_ = [
        ("R", i64),
        ("V", i64),
        ("dtype", i32),
        ("top_k", i32),
        ("temperature", f32),
        ("top_p", f32),
        ("min_p", f32),
        ("seed", f64),
        ("logits", pointer),
        ("streams", pointer),
        ("positions", pointer),
        ("tokens", pointer),
        ("logprobs", pointer),
        ("support_logprobs", pointer),
    ]


class TreeAttention(ctypes.Structure):
    _fields_ = [
        ("T", i64),
        ("heads", i64),
        ("kv_heads", i64),
        ("D", i64),
        ("window", i64),
        ("scale", f32),
        ("q", pointer),
        ("k", pointer),
        ("v", pointer),
        ("subtree_end", pointer),
        ("out", pointer),
        ("lse", pointer),
    ]


class TreeAttentionBackward(ctypes.Structure):
    _fields_ = [
        *TreeAttention._fields_,
        ("dout", pointer),
        ("dq", pointer),
        ("dk", pointer),
        ("dv", pointer),
    ]


class DecodeAttention(ctypes.Structure):
    _fields_ = [
        ("R", i64),
        ("K", i64),
        ("cached", i64),
        ("heads", i64),
        ("kv_heads", i64),
        ("D", i64),
        ("window", i64),
        ("scale", f32),
        ("q", pointer),
        ("keys", pointer),
        ("values", pointer),
        ("slot_offsets", pointer),
        ("slots", pointer),
        ("out", pointer),
    ]


def at(tensor):
    """Where a tensor lies; null for None. It has to be contiguous, and to live until the op has run."""
    if tensor is None:
        return None
    assert tensor.is_contiguous(), tuple(tensor.shape)
    return tensor.data_ptr()
