"""The records of ops (native/ops.h) that the benches fill, with tensors of PyTorch for their arrays.

The fields are those of the header, in its order: one that is missing here shifts all that follow.
"""

import ctypes

i32, i64, f32, f64, pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_double, ctypes.c_void_p

DTYPES = {"f32": 0, "bf16": 1, "f16": 2}
LOSS_METRICS = 12


def each(kind, names):
    """Fields of one type, in order, as `int64_t T, N, V;` of the header."""
    return [(name, kind) for name in names.split()]


class LogitRows(ctypes.Structure):
    _fields_ = [
        *each(i64, "T N V"),
        *each(i32, "dtype ignore_index"),
        *each(f32, "temperature logit_scale softcap"),
        *each(pointer, "logits target_offsets targets temperatures keep"),
    ]


class Logprobs(ctypes.Structure):
    _fields_ = [("rows", LogitRows), *each(pointer, "lse logprobs entropy sum_squares")]


class LogprobsBackward(ctypes.Structure):
    _fields_ = [("rows", LogitRows), *each(pointer, "lse entropy dlogprobs dentropy dlogits")]


class PolicyLossTargets(ctypes.Structure):
    _fields_ = [
        *each(i64, "N advantage_columns"),
        *each(i32, "kl_kind kl_times_ratio"),
        *each(f32, "log_ratio_clamp kl_coef kl_log_ratio_clamp kl_value_clamp"),
        *each(pointer, "logprobs old_logprobs ref_logprobs advantages weights multipliers dlogprobs ratios metrics"),
    ]


class PolicyLossClip(ctypes.Structure):
    _fields_ = [*each(f32, "eps_low eps_high delta dual_clip"), ("targets", PolicyLossTargets)]


class PolicyUpdateClip(ctypes.Structure):
    _fields_ = [
        ("rows", LogitRows),
        *each(pointer, "entropy_weights logprobs lse entropy dlogits"),
        ("loss", PolicyLossClip),
    ]


class HeadRows(ctypes.Structure):
    _fields_ = [
        *each(i64, "T N V H"),
        *each(i32, "portable hidden_dtype weight_dtype ignore_index"),
        *each(f32, "temperature logit_scale softcap"),
        *each(pointer, "hidden weight bias target_offsets targets temperatures"),
    ]


class LinearLogprobs(ctypes.Structure):
    _fields_ = [("head", HeadRows), *each(pointer, "lse logprobs entropy")]


class LinearLogprobsBackward(ctypes.Structure):
    _fields_ = [("head", HeadRows), *each(pointer, "lse logprobs entropy dlogprobs dentropy dhidden dweight dbias")]


class Linear(ctypes.Structure):
    _fields_ = [*each(i64, "T I O"), *each(i32, "accumulate portable weight_dtype"), *each(pointer, "x weight bias y")]


class LinearBackward(ctypes.Structure):
    _fields_ = [
        *each(i64, "T I O"),
        *each(i32, "accumulate portable weight_dtype"),
        *each(pointer, "x weight dy dx dweight dbias"),
    ]


class ScatterAdvantages(ctypes.Structure):
    _fields_ = [*each(i64, "N S"), *each(pointer, "step_credits step_of advantages")]


class ScatterAdvantagesBackward(ctypes.Structure):
    _fields_ = [*each(i64, "N S"), *each(pointer, "dadvantages step_of dstep_credits")]


class Adamw(ctypes.Structure):
    _fields_ = [
        *each(i64, "count step"),
        *each(f64, "lr beta1 beta2 eps weight_decay grad_scale"),
        *each(pointer, "grads params m v"),
    ]


class Sample(ctypes.Structure):
    _fields_ = [
        *each(i64, "R V"),
        *each(i32, "dtype top_k"),
        *each(f32, "temperature top_p min_p"),
        *each(f64, "seed"),
        *each(pointer, "logits streams positions tokens logprobs support_logprobs"),
    ]


class TreeAttention(ctypes.Structure):
    _fields_ = [
        *each(i64, "T heads kv_heads D window"),
        *each(f32, "scale"),
        *each(pointer, "q k v subtree_end out lse"),
    ]


class TreeAttentionBackward(ctypes.Structure):
    _fields_ = [*TreeAttention._fields_, *each(pointer, "dout dq dk dv")]


class DecodeAttention(ctypes.Structure):
    _fields_ = [
        *each(i64, "R K cached heads kv_heads D window"),
        *each(f32, "scale"),
        *each(pointer, "q keys values slot_offsets slots out"),
    ]


def at(tensor):
    """Where a tensor lies; null for None. It has to be contiguous, and to live until the op has run."""
    if tensor is None:
        return None
    assert tensor.is_contiguous(), tuple(tensor.shape)
    return tensor.data_ptr()
