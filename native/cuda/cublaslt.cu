#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <array>
#include <map>
#include <mutex>

#include "cublaslt.cuh"

namespace gpu {

#if defined(__CUDACC__)

namespace {

// The ABI, as the cuBLAS manual documents it, in prototypes of our own. What is relied on: the values of the enumerators below
// (cublasStatus_t, cublasComputeType_t, cudaDataType_t, cublasOperation_t, cublasLtMatmulDescAttributes_t,
// cublasLtMatmulPreferenceAttributes_t, cublasLtEpilogue_t), that handles and descriptors are pointers, that an algorithm is 64
// opaque bytes, and the layout of a heuristic's result. All are the same from cuBLAS 11.4 to 13.
enum : int { kSuccess = 0, kNotSupported = 15 };                                   // CUBLAS_STATUS_…
enum : int { kCompute32F = 68 };                                                   // CUBLAS_COMPUTE_32F
enum : int { kReal32F = 0, kReal16F = 2, kReal16BF = 14 };                         // CUDA_R_…
enum : int32_t { kAsStored = 0, kTransposed = 1 };                                 // CUBLAS_OP_N, CUBLAS_OP_T
enum : int { kTransposeA = 3, kTransposeB = 4, kEpilogue = 7, kBiasPointer = 8 };  // CUBLASLT_MATMUL_DESC_…
enum : uint32_t { kEpilogueBias = 4 };                                             // CUBLASLT_EPILOGUE_BIAS
enum : int { kMaxWorkspace = 1, kAlignmentA = 5, kAlignmentB = 6, kAlignmentC = 7, kAlignmentD = 8 };  // CUBLASLT_MATMUL_PREF_…

typedef struct LtContext* Handle;
typedef struct LtMatmul* Description;
typedef struct LtLayout* Layout;
typedef struct LtPreference* Preference;

struct Algorithm {
  uint64_t opaque[8];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

struct Library {
  int (*create)(Handle*);
  int (*description_create)(Description*, int compute, int scale);
  int (*description_set)(Description, int attribute, const void* value, size_t bytes);
  int (*description_destroy)(Description);
  int (*layout_create)(Layout*, int type, uint64_t rows, uint64_t columns, int64_t stride);
  int (*layout_destroy)(Layout);
  int (*preference_create)(Preference*);
  int (*preference_set)(Preference, int attribute, const void* value, size_t bytes);
  int (*preference_destroy)(Preference);
  int (*heuristic)(Handle, Description, Layout a, Layout b, Layout c, Layout d, Preference, int wanted, Heuristic*, int* found);
  int (*matmul)(Handle, Description, const void* alpha, const void* A, Layout a, const void* B, Layout b, const void* beta,
                const void* C, Layout c, void* D, Layout d, const Algorithm*, void* workspace, size_t bytes, cudaStream_t);
};

constexpr size_t kWorkspaceBytes = 32 << 20;  // what NVIDIA advises for Hopper; fewer make some algorithms unavailable

// What a choice of an algorithm depends on.
using Key = std::array<int64_t, 14>;

struct State {
  std::mutex mutex;
  bool opened = false;
  bool absent = false;
  char reason[160] = "";
  Library library = {};
  std::map<int, Handle> handles;    // by device
  std::map<Key, Heuristic> chosen;  // status ≠ 0: there is none
};

State& state() {
  static State& one = *new State;  // never destroyed: threads may still be in it when the process ends
  return one;
}

void give_up(State& s, const char* what, int status) {
  s.absent = true;
  snprintf(s.reason, sizeof s.reason, "%s failed with status %d; products take our own kernel from here on", what, status);
}

template <class Function>
bool find(void* library, const char* name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(library, name));
  return *function != nullptr;
}

void open(State& s) {
  s.opened = true;
  s.absent = true;
  const char* const wanted = getenv("STEPCREDIT_BLAS");
  if (wanted && strcmp(wanted, "off") == 0) {
    snprintf(s.reason, sizeof s.reason, "switched off by STEPCREDIT_BLAS=off");
    return;
  }
  void* file = dlopen("libcublasLt.so.13", RTLD_NOW | RTLD_LOCAL);
  if (!file) file = dlopen("libcublasLt.so.12", RTLD_NOW | RTLD_LOCAL);
  if (!file) {
    snprintf(s.reason, sizeof s.reason, "neither libcublasLt.so.13 nor libcublasLt.so.12 was found");
    return;
  }
  Library& lt = s.library;
  const bool whole = find(file, "cublasLtCreate", &lt.create) &&
                     find(file, "cublasLtMatmulDescCreate", &lt.description_create) &&
                     find(file, "cublasLtMatmulDescSetAttribute", &lt.description_set) &&
                     find(file, "cublasLtMatmulDescDestroy", &lt.description_destroy) &&
                     find(file, "cublasLtMatrixLayoutCreate", &lt.layout_create) &&
                     find(file, "cublasLtMatrixLayoutDestroy", &lt.layout_destroy) &&
                     find(file, "cublasLtMatmulPreferenceCreate", &lt.preference_create) &&
                     find(file, "cublasLtMatmulPreferenceSetAttribute", &lt.preference_set) &&
                     find(file, "cublasLtMatmulPreferenceDestroy", &lt.preference_destroy) &&
                     find(file, "cublasLtMatmulAlgoGetHeuristic", &lt.heuristic) && find(file, "cublasLtMatmul", &lt.matmul);
  s.absent = !whole;
  if (!whole) snprintf(s.reason, sizeof s.reason, "libcublasLt lacks a function that is needed");
}

bool present(State& s) {
  if (!s.opened) open(s);
  return !s.absent;
}

Handle handle_of(State& s, int device) {
  Handle& handle = s.handles[device];
  if (handle) return handle;
  if (const int status = s.library.create(&handle)) {
    handle = nullptr;
    give_up(s, "cublasLtCreate", status);
  }
  return handle;
}

int type_of(int32_t dtype) { return dtype == kBf16 ? kReal16BF : dtype == kF16 ? kReal16F : kReal32F; }

// Bytes that a pointer is a multiple of, as far as it matters.
uint32_t alignment(const void* pointer) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer) | 256;
  return static_cast<uint32_t>(address & (~address + 1));
}

// cuBLASLt thinks in columns: a row-major matrix is its own transpose there, so C = A' · B' is made as Cᵀ = B'ᵀ · A'ᵀ, and its
// operands are B, then A. The descriptors of one product; the first failure is kept in `status`.
struct Descriptors {
  const Library& lt;
  Description description = nullptr;
  Layout first = nullptr, second = nullptr, result = nullptr;
  int status = kSuccess;

  Descriptors(const Library& library, const Product& p) : lt(library) {
    const int32_t first_as = p.form == Form::kOverColumns ? kTransposed : kAsStored;
    const int32_t second_as = p.form == Form::kOverRows ? kTransposed : kAsStored;
    check(lt.description_create(&description, kCompute32F, kReal32F));
    set(kTransposeA, first_as);
    set(kTransposeB, second_as);
    if (p.bias) {
      set(kEpilogue, uint32_t{kEpilogueBias});
      set(kBiasPointer, p.bias);
    }
    layout(&first, type_of(p.B.dtype), p.N, p.K, first_as, p.B.stride);
    layout(&second, type_of(p.A.dtype), p.K, p.M, second_as, p.A.stride);
    layout(&result, kReal32F, p.N, p.M, kAsStored, p.stride);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors() {
    if (description) lt.description_destroy(description);
    for (Layout one : {first, second, result})
      if (one) lt.layout_destroy(one);
  }

  void check(int result_of_call) {
    if (status == kSuccess) status = result_of_call;
  }
  template <class Value>
  void set(int attribute, const Value& value) {
    if (status == kSuccess) check(lt.description_set(description, attribute, &value, sizeof value));
  }
  void layout(Layout* made, int type, int64_t rows, int64_t columns, int32_t as, int64_t stride) {
    if (as == kTransposed) return layout(made, type, columns, rows, kAsStored, stride);
    if (status == kSuccess)
      check(lt.layout_create(made, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), stride));
  }
};

Heuristic choose(const Library& lt, Handle handle, const Product& p, const Descriptors& of) {
  Heuristic best = {};
  Preference preference = nullptr;
  int status = lt.preference_create(&preference), found = 0;
  const auto set = [&](int attribute, const auto& value) {
    if (status == kSuccess) status = lt.preference_set(preference, attribute, &value, sizeof value);
  };
  set(kMaxWorkspace, uint64_t{kWorkspaceBytes});
  set(kAlignmentA, alignment(p.B.data));  // without these it takes pointers to be multiples of 256
  set(kAlignmentB, alignment(p.A.data));
  set(kAlignmentC, alignment(p.C));
  set(kAlignmentD, alignment(p.C));
  if (status == kSuccess)
    status = lt.heuristic(handle, of.description, of.first, of.second, of.result, of.result, preference, 1, &best, &found);
  if (preference) lt.preference_destroy(preference);
  if (status == kSuccess) status = found > 0 ? best.status : kNotSupported;
  best.status = status;
  return best;
}

Key key_of(int device, const Product& p) {
  return {device,
          static_cast<int64_t>(p.form),
          p.M,
          p.N,
          p.K,
          p.A.stride,
          p.B.stride,
          p.stride,
          p.A.dtype * 16 + p.B.dtype,
          alignment(p.A.data),
          alignment(p.B.data),
          alignment(p.C),
          p.bias ? alignment(p.bias) : 0,
          p.accumulate};
}

}  // namespace

size_t cublaslt_bytes() {
  State& s = state();
  const std::lock_guard<std::mutex> lock(s.mutex);
  return present(s) ? kWorkspaceBytes : 0;
}

bool cublaslt_multiply(Queue& queue, const Product& p, void* memory) {
  if (p.A.dtype != p.B.dtype || p.M <= 0 || p.N <= 0 || p.K <= 0) return false;
  State& s = state();
  const std::lock_guard<std::mutex> lock(s.mutex);
  const Handle handle = present(s) ? handle_of(s, queue.device) : nullptr;
  if (!handle) return false;
  const Descriptors of(s.library, p);
  if (of.status != kSuccess) {
    give_up(s, "cublasLtMatmulDescCreate or cublasLtMatrixLayoutCreate", of.status);
    return false;
  }
  const Key key = key_of(queue.device, p);
  auto found = s.chosen.find(key);
  if (found == s.chosen.end()) {
    if (s.chosen.size() >= 4096) s.chosen.clear();  // lengths that never come again
    found = s.chosen.emplace(key, choose(s.library, handle, p, of)).first;
  }
  const Heuristic& best = found->second;
  if (best.status == kNotSupported) return false;
  if (best.status != kSuccess) {
    give_up(s, "cublasLtMatmulAlgoGetHeuristic", best.status);
    return false;
  }
  const float alpha = 1.0f, beta = p.accumulate ? 1.0f : 0.0f;
  const int status = s.library.matmul(handle, of.description, &alpha, p.B.data, of.first, p.A.data, of.second, &beta, p.C,
                                      of.result, p.C, of.result, &best.algorithm, memory, kWorkspaceBytes, queue.stream);
  if (status == kSuccess) return true;
  if (status == kNotSupported) {
    found->second.status = kNotSupported;
  } else {
    give_up(s, "cublasLtMatmul", status);
  }
  return false;
}

const char* cublaslt_absence() {
  State& s = state();
  const std::lock_guard<std::mutex> lock(s.mutex);
  return present(s) ? nullptr : s.reason;
}

#else  // device code on the host has no cuBLASLt

size_t cublaslt_bytes() { return 0; }
bool cublaslt_multiply(Queue&, const Product&, void*) { return false; }
const char* cublaslt_absence() { return "device code runs on the host"; }

#endif

}  // namespace gpu
