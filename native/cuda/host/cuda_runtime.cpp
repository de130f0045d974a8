#include "cuda_runtime.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <utility>

namespace {

thread_local cudaError_t last = cudaSuccess;

cudaError_t kept(cudaError_t error) {
  if (error != cudaSuccess) last = error;
  return error;
}

struct Mapping {
  void* start;
  size_t mapped;
  size_t bytes;
  int device;
  int file;     // −1: nobody shares it
  bool opened;  // another process allocated it
};
std::mutex mutex;
std::map<void*, Mapping> mappings;
std::map<cudaStream_t, int> streams;  // and their devices

// What processes have of an event in common, in a file.
struct EventState {
  uint64_t mark;
  std::atomic<int> recorded, destroyed;
};
constexpr uint64_t kEventMark = 0x746e657665206353;

struct Event {
  int device;
  EventState* state;  // null: of this process alone
  int file;           // −1: it is not shared, or another process made it
};
std::map<cudaEvent_t, Event> events;

thread_local int current = 0;

int devices() {
  const char* const given = getenv("STEPCREDIT_SIMT_DEVICES");
  return given ? atoi(given) : 1;
}

size_t device_bytes() {
  const char* const given = getenv("STEPCREDIT_SIMT_MEMORY");
  return given ? strtoull(given, nullptr, 10) : size_t{8} << 30;
}
size_t used = 0;

size_t most_shared_bytes() {
  const char* const given = getenv("STEPCREDIT_SIMT_SHARED");
  return given ? strtoull(given, nullptr, 10) : size_t{227} << 10;
}
constexpr size_t kUnaskedSharedBytes = 48 << 10;
std::map<std::pair<const void*, int>, size_t> asked_shared_bytes;  // by kernel and device

constexpr size_t kAlignment = 256;

// CUDA's default stream by its three names.
bool is_default(cudaStream_t stream) { return reinterpret_cast<uintptr_t>(stream) <= 2; }

bool is_stream(cudaStream_t stream) { return is_default(stream) || streams.count(stream) > 0; }

// An event that may be used.
const Event* living(cudaEvent_t event) {
  const auto found = events.find(event);
  if (found == events.end() || (found->second.state && found->second.state->destroyed)) return nullptr;
  return &found->second;
}

cudaEvent_t add_event(const Event& event) {
  const cudaEvent_t made = static_cast<cudaEvent_t>(malloc(8));
  if (made) events[made] = event;
  return made;
}

EventState* map_state(int file) {
  void* const state = mmap(nullptr, sizeof(EventState), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  return state == MAP_FAILED ? nullptr : static_cast<EventState*>(state);
}

// Where in another process an event is.
struct SharedEvent {
  uint64_t mark;
  pid_t process;
  int file;
  int device;
};
static_assert(sizeof(SharedEvent) <= sizeof(cudaIpcEventHandle_t), "");

// Where in another process the bytes of a mapping are.
struct Shared {
  pid_t process;
  int file;
  size_t offset;
  size_t mapped;  // with the page that may not be touched
  size_t bytes;
  int device;
};
static_assert(sizeof(Shared) <= sizeof(cudaIpcMemHandle_t), "");

// Moves the mapping into a file without a name, at the same addresses.
bool move_into_file(Mapping* mapping) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), bytes = mapping->mapped - page;
  const int file = memfd_create("stepcredit", MFD_CLOEXEC);
  if (file < 0) return false;
  void* copy = MAP_FAILED;
  if (ftruncate(file, static_cast<off_t>(bytes)) == 0) copy = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (copy != MAP_FAILED) {
    memcpy(copy, mapping->start, bytes);
    munmap(copy, bytes);
    copy = mmap(mapping->start, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
  }
  if (copy == MAP_FAILED) {
    close(file);
    return false;
  }
  mapping->file = file;
  return true;
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaSuccess                      ? "cudaSuccess"
         : error == cudaErrorMemoryAllocation      ? "cudaErrorMemoryAllocation"
         : error == cudaErrorNoDevice              ? "cudaErrorNoDevice"
         : error == cudaErrorInvalidDevice         ? "cudaErrorInvalidDevice"
         : error == cudaErrorIllegalAddress        ? "cudaErrorIllegalAddress"
         : error == cudaErrorDeviceUninitialized   ? "cudaErrorDeviceUninitialized"
         : error == cudaErrorInvalidResourceHandle ? "cudaErrorInvalidResourceHandle"
         : error == cudaErrorNotReady              ? "cudaErrorNotReady"
                                                   : "cudaErrorInvalidValue";
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess                      ? "no error"
         : error == cudaErrorMemoryAllocation      ? "out of memory"
         : error == cudaErrorNoDevice              ? "no CUDA-capable device is detected"
         : error == cudaErrorInvalidDevice         ? "invalid device ordinal"
         : error == cudaErrorIllegalAddress        ? "an illegal memory access was encountered"
         : error == cudaErrorDeviceUninitialized   ? "invalid device context"
         : error == cudaErrorInvalidResourceHandle ? "invalid resource handle"
         : error == cudaErrorNotReady              ? "nobody has recorded the event"
                                                   : "invalid argument";
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = last;
  last = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() { return last; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = devices();
  return kept(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaGetDevice(int* device) {
  *device = current;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= devices()) return kept(cudaErrorInvalidDevice);
  current = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= devices()) return kept(cudaErrorInvalidDevice);
  *properties = {"device code on the host", 0, 0, 4, device_bytes(), most_shared_bytes(), 1 << 20};
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::lock_guard<std::mutex> lock(mutex);
  *total = device_bytes();
  *free = *total - used;
  return cudaSuccess;
}

// The range ends at a page that may not be touched, less what alignment asks; the bytes between are not watched.
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  const std::lock_guard<std::mutex> lock(mutex);
  if (bytes > device_bytes() - used) return kept(cudaErrorMemoryAllocation);
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const size_t mapped = (rounded + page - 1) / page * page;
  char* const start =
      static_cast<char*>(mmap(nullptr, mapped + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (start == MAP_FAILED) return kept(cudaErrorMemoryAllocation);
  mprotect(start + mapped, page, PROT_NONE);
  *memory = start + mapped - rounded;
  memset(*memory, 0xff, rounded);
  mappings[*memory] = {start, mapped + page, bytes, current, -1, false};
  used += bytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  if (!memory) return cudaSuccess;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = mappings.find(memory);
  if (found == mappings.end() || found->second.opened) return kept(cudaErrorInvalidValue);
  munmap(found->second.start, found->second.mapped);
  if (found->second.file >= 0) close(found->second.file);
  used -= found->second.bytes;
  mappings.erase(found);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  const char* const given = getenv("STEPCREDIT_SIMT_PINNED");
  *memory = given && strcmp(given, "0") == 0 ? nullptr : malloc(bytes);
  return *memory ? cudaSuccess : kept(cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void* memory) {
  free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  if (bytes > 0) memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int byte, size_t bytes, cudaStream_t) {
  if (bytes > 0) memset(memory, byte, bytes);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const std::lock_guard<std::mutex> lock(mutex);
  *stream = static_cast<cudaStream_t>(malloc(8));
  if (!*stream) return kept(cudaErrorMemoryAllocation);
  streams[*stream] = current;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (streams.erase(stream) == 0) return kept(cudaErrorInvalidResourceHandle);
  free(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return kept(getenv("STEPCREDIT_SIMT_FAILURE") ? cudaErrorIllegalAddress : cudaSuccess);
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::lock_guard<std::mutex> lock(mutex);
  const Event* const of = living(event);
  if (!of || !is_stream(stream)) return kept(cudaErrorInvalidResourceHandle);
  return kept(of->state && !of->state->recorded ? cudaErrorNotReady : cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const std::lock_guard<std::mutex> lock(mutex);
  Event made = {current, nullptr, -1};
  if (flags & cudaEventInterprocess) {
    if (!(flags & cudaEventDisableTiming)) return kept(cudaErrorInvalidValue);
    made.file = memfd_create("stepcredit-event", MFD_CLOEXEC);
    if (made.file >= 0 && ftruncate(made.file, sizeof(EventState)) == 0) made.state = map_state(made.file);
    if (!made.state) {
      if (made.file >= 0) close(made.file);
      return kept(cudaErrorMemoryAllocation);
    }
    made.state->mark = kEventMark;
  }
  *event = add_event(made);
  return *event ? cudaSuccess : kept(cudaErrorMemoryAllocation);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = events.find(event);
  if (found == events.end()) return kept(cudaErrorInvalidResourceHandle);
  const Event of = found->second;
  events.erase(found);
  free(event);
  if (of.file >= 0) {
    of.state->destroyed = 1;
    close(of.file);
  }
  if (of.state) munmap(of.state, sizeof(EventState));
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard<std::mutex> lock(mutex);
  const Event* const of = living(event);
  if (!of || !is_stream(stream) || of->device != (is_default(stream) ? current : streams[stream]))
    return kept(cudaErrorInvalidResourceHandle);
  if (of->state) of->state->recorded = 1;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return kept(getenv("STEPCREDIT_SIMT_FAILURE") ? cudaErrorIllegalAddress : cudaSuccess);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  *attributes = {cudaMemoryTypeUnregistered, 0};
  const std::lock_guard<std::mutex> lock(mutex);
  auto after = mappings.upper_bound(const_cast<void*>(pointer));
  if (after == mappings.begin()) return cudaSuccess;
  const auto& [memory, mapping] = *--after;
  if (static_cast<const char*>(pointer) < static_cast<char*>(memory) + mapping.bytes)
    *attributes = {cudaMemoryTypeDevice, mapping.device};
  return cudaSuccess;
}

cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t* handle, void* memory) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = mappings.find(memory);
  if (found == mappings.end() || found->second.opened) return kept(cudaErrorInvalidValue);
  Mapping& mapping = found->second;
  if (mapping.file < 0 && !move_into_file(&mapping)) return kept(cudaErrorMemoryAllocation);
  const size_t offset = static_cast<size_t>(static_cast<char*>(memory) - static_cast<char*>(mapping.start));
  const Shared shared = {getpid(), mapping.file, offset, mapping.mapped, mapping.bytes, mapping.device};
  *handle = {};
  memcpy(handle, &shared, sizeof shared);
  return cudaSuccess;
}

cudaError_t cudaIpcOpenMemHandle(void** memory, cudaIpcMemHandle_t handle, unsigned) {
  Shared shared;
  memcpy(&shared, &handle, sizeof shared);
  if (shared.process == getpid()) return kept(cudaErrorDeviceUninitialized);
  if (shared.device != current) return kept(cudaErrorInvalidDevice);
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", static_cast<int>(shared.process), shared.file);
  const int file = open(path, O_RDWR | O_CLOEXEC);
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  struct stat found;
  if (file < 0 || fstat(file, &found) != 0 || static_cast<size_t>(found.st_size) + page != shared.mapped) {
    if (file >= 0) close(file);
    return kept(cudaErrorInvalidValue);
  }
  char* const start = static_cast<char*>(mmap(nullptr, shared.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (start == MAP_FAILED ||
      mmap(start, shared.mapped - page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED) {
    close(file);
    return kept(cudaErrorMemoryAllocation);
  }
  close(file);
  *memory = start + shared.offset;
  const std::lock_guard<std::mutex> lock(mutex);
  mappings[*memory] = {start, shared.mapped, shared.bytes, current, -1, true};
  return cudaSuccess;
}

cudaError_t cudaIpcCloseMemHandle(void* memory) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = mappings.find(memory);
  if (found == mappings.end() || !found->second.opened) return kept(cudaErrorInvalidValue);
  munmap(found->second.start, found->second.mapped);
  mappings.erase(found);
  return cudaSuccess;
}

cudaError_t cudaIpcGetEventHandle(cudaIpcEventHandle_t* handle, cudaEvent_t event) {
  const std::lock_guard<std::mutex> lock(mutex);
  const Event* const of = living(event);
  if (!of || of->file < 0) return kept(cudaErrorInvalidResourceHandle);
  const SharedEvent shared = {kEventMark, getpid(), of->file, of->device};
  *handle = {};
  memcpy(handle, &shared, sizeof shared);
  return cudaSuccess;
}

cudaError_t cudaIpcOpenEventHandle(cudaEvent_t* event, cudaIpcEventHandle_t handle) {
  SharedEvent shared;
  memcpy(&shared, &handle, sizeof shared);
  if (shared.mark != kEventMark) return kept(cudaErrorInvalidResourceHandle);
  if (shared.process == getpid()) return kept(cudaErrorDeviceUninitialized);
  if (shared.device != current) return kept(cudaErrorInvalidDevice);
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", static_cast<int>(shared.process), shared.file);
  const int file = open(path, O_RDWR | O_CLOEXEC);
  struct stat found;
  const bool fits = file >= 0 && fstat(file, &found) == 0 && found.st_size == sizeof(EventState);
  EventState* const state = fits ? map_state(file) : nullptr;
  if (file >= 0) close(file);
  if (!state) return kept(cudaErrorInvalidResourceHandle);
  const std::lock_guard<std::mutex> lock(mutex);
  *event = state->mark == kEventMark && !state->destroyed ? add_event({current, state, -1}) : nullptr;
  if (*event) return cudaSuccess;
  munmap(state, sizeof(EventState));
  return kept(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<size_t>(value) > most_shared_bytes()) return kept(cudaErrorInvalidValue);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto [asked, first] = asked_shared_bytes.emplace(std::make_pair(kernel, current), value);
  if (!first && asked->second != static_cast<size_t>(value)) {
    fprintf(stderr, "simt: a kernel asks for another amount of shared memory than before\n");
    abort();
  }
  return cudaSuccess;
}

bool host_grants_launch(const void* kernel, size_t shared_bytes, cudaStream_t stream) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto of = streams.find(stream);
  if (!is_default(stream) && (of == streams.end() || of->second != current)) {
    kept(cudaErrorInvalidResourceHandle);
    return false;
  }
  if (shared_bytes <= kUnaskedSharedBytes) return true;
  const auto asked = asked_shared_bytes.find({kernel, current});
  const bool enough = asked != asked_shared_bytes.end() && shared_bytes <= asked->second;
  if (!enough) kept(cudaErrorInvalidValue);
  return enough;
}
