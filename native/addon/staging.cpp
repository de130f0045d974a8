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

int32_t run(const BoundOp& bound, ScStream queue, const Record& record, const std::vector<Extent>& arrays, ScError* error) {
  Staged staged(*bound.device, queue);
  const ScPlugin& plugin = *bound.device->plugin;
  Record on_device = record;
  int32_t code = 1;
  if (staged.upload(record, arrays, error)) {
    for (const Extent& array : arrays) {
      const char* const copy = staged.of(address_in(record, array));
      memcpy(on_device.bytes + array.field->offset, &copy, sizeof copy);
    }
    code = call_op(bound, on_device, queue, error);
  }
  // Also after a failure: what was enqueued before it reads memory that is released now.
  ScError late = {};
  if (plugin.wait(queue, &late) != 0 && code == 0) {
    *error = late;
    code = late.code;
  }
  if (code == 0 && (!staged.download(record, arrays, error) || plugin.wait(queue, error) != 0)) code = 1;
  return code;
}

}  // namespace

int32_t run_staged(const BoundOp& bound, const Record& record, const std::vector<Extent>& arrays, ScError* error) {
  const ScStream queue = bound.device->take_queue(error);
  if (!queue) return 1;
  const int32_t code = run(bound, queue, record, arrays, error);
  bound.device->give_back(queue);
  return code;
}
