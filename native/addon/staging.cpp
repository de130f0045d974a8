#include "staging.h"

#include <algorithm>
#include <cstring>

namespace {

char* address_in(const Record& record, const Extent& array) {
  char* address;
  memcpy(&address, record.bytes + array.field->offset, sizeof address);
  return address;
}

// Memory of the host that one or several arrays lie in, and its copy on the device.
struct Range {
  char* begin;
  char* end;
  void* copy;
};

// The arrays of one call on the device. Overlapping ones lie in one range, as far from each other as they are.
class Staged {
 public:
  Staged(Device& device_, ScStream queue_) : device(device_), queue(queue_) {}
  Staged(const Staged&) = delete;
  Staged& operator=(const Staged&) = delete;
  ~Staged() {
    ScError unheard = {};
    for (const Range& range : ranges)
      if (range.copy) device.plugin->release(device.index, range.copy, &unheard);
  }

  bool upload(const Record& record, const std::vector<Extent>& arrays, ScError* error) {
    join(record, arrays);
    for (Range& range : ranges) {
      const size_t bytes = static_cast<size_t>(range.end - range.begin);
      if (device.plugin->allocate(device.index, bytes, &range.copy, error) != 0 ||
          device.plugin->upload(queue, range.copy, range.begin, bytes, error) != 0)
        return false;
    }
    return true;
  }

  bool download(const Record& record, const std::vector<Extent>& arrays, ScError* error) {
    for (const Extent& array : arrays) {
      char* const address = address_in(record, array);
      if (array.field->written && device.plugin->download(queue, address, of(address), array.bytes, error) != 0) return false;
    }
    return true;
  }

  // Leaves the copies to the lane, which releases them when it has been waited for.
  void hand_over(Lane* lane) {
    for (const Range& range : ranges) {
      lane->staged.push_back(range.copy);
      lane->staged_bytes += static_cast<size_t>(range.end - range.begin);
    }
    ranges.clear();
  }

  char* of(char* address) const {
    const auto after = std::upper_bound(ranges.begin(), ranges.end(), address,
                                        [](const char* wanted, const Range& range) { return wanted < range.begin; });
    const Range& range = *(after - 1);
    return static_cast<char*>(range.copy) + (address - range.begin);
  }

 private:
  void join(const Record& record, const std::vector<Extent>& arrays) {
    for (const Extent& array : arrays) {
      char* const begin = address_in(record, array);
      ranges.push_back({begin, begin + array.bytes, nullptr});
    }
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
    std::vector<Range> joined;
    for (const Range& range : ranges) {
      if (!joined.empty() && (range.begin < joined.back().end || range.begin == joined.back().begin))
        joined.back().end = std::max(joined.back().end, range.end);
      else
        joined.push_back(range);
    }
    ranges = std::move(joined);
  }

  Device& device;
  const ScStream queue;
  std::vector<Range> ranges;
};

// The op on the queue, with the arrays of the host copied to the device.
int32_t enqueue(const BoundOp& bound, ScStream queue, const Record& record, const std::vector<Extent>& of_host, Staged* staged,
                ScError* error) {
  Record on_device = record;
  if (!staged->upload(record, of_host, error)) return 1;
  for (const Extent& array : of_host) {
    const char* const copy = staged->of(address_in(record, array));
    memcpy(on_device.bytes + array.field->offset, &copy, sizeof copy);
  }
  return call_op(bound, on_device, queue, error);
}

// Waits, and copies back what was written.
int32_t finish(const BoundOp& bound, ScStream queue, const Record& record, const std::vector<Extent>& of_host, Staged* staged,
               int32_t code, ScError* error) {
  const ScPlugin& plugin = *bound.lane->device->plugin;
  // Also after a failure: what was enqueued before it reads memory that is released next.
  ScError late = {};
  if (plugin.wait(queue, &late) != 0 && code == 0) {
    *error = late;
    return late.code;
  }
  if (code != 0) return code;
  return staged->download(record, of_host, error) && plugin.wait(queue, error) == 0 ? 0 : 1;
}

// Copies for calls that are enqueued may take this much memory before they are waited for.
constexpr size_t kMostStagedBytes = size_t{64} << 20;
constexpr size_t kMostStaged = 256;

}  // namespace

int32_t run_staged(const BoundOp& bound, const Record& record, const std::vector<Extent>& of_host, ScError* error) {
  Device& device = *bound.lane->device;
  const ScStream queue = device.take_queue(error);
  if (!queue) return 1;
  int32_t code;
  {
    Staged staged(device, queue);
    code = enqueue(bound, queue, record, of_host, &staged, error);
    code = finish(bound, queue, record, of_host, &staged, code, error);
  }
  device.give_back(queue);
  return code;
}

int32_t enqueue_staged(const BoundOp& bound, const Record& record, const std::vector<Extent>& of_host, ScError* error) {
  Lane& lane = *bound.lane;
  Staged staged(*lane.device, lane.queue);
  const int32_t code = enqueue(bound, lane.queue, record, of_host, &staged, error);
  lane.pending = true;
  const bool writes = std::any_of(of_host.begin(), of_host.end(), [](const Extent& array) { return array.field->written; });
  if (code != 0 || writes) return finish(bound, lane.queue, record, of_host, &staged, code, error);
  staged.hand_over(&lane);
  return lane.staged_bytes > kMostStagedBytes || lane.staged.size() > kMostStaged ? lane.wait(error) : 0;
}
