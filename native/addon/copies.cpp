#include "copies.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

namespace {

constexpr size_t kAlignment = 64;

}  // namespace

Copies::~Copies() {
  for (const Range& range : ranges) free(range.allocated);
}

void Copies::add(const void* begin, size_t bytes) {
  const char* const first = static_cast<const char*>(begin);
  ranges.push_back({first, first + bytes, nullptr, nullptr});
}

bool Copies::make() {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::vector<Range> joined;
  for (const Range& range : ranges) {
    if (!joined.empty() && range.begin < joined.back().end)
      joined.back().end = std::max(joined.back().end, range.end);
    else
      joined.push_back(range);
  }
  ranges = std::move(joined);
  for (Range& range : ranges) {
    const size_t bytes = static_cast<size_t>(range.end - range.begin);
    range.allocated = malloc(bytes + 2 * kAlignment);
    if (!range.allocated) return false;
    // At the same place relative to a cache line, so that every element is as aligned as it was.
    const uintptr_t from = reinterpret_cast<uintptr_t>(range.allocated);
    const uintptr_t line = (from + kAlignment - 1) / kAlignment * kAlignment;
    range.copy = static_cast<char*>(range.allocated) + (line - from) + reinterpret_cast<uintptr_t>(range.begin) % kAlignment;
    memcpy(range.copy, range.begin, bytes);
  }
  return true;
}

char* Copies::of(const void* address) const {
  const char* const wanted = static_cast<const char*>(address);
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), wanted,
                                      [](const char* value, const Range& range) { return value < range.begin; });
  const Range& range = *(after - 1);
  return range.copy + (wanted - range.begin);
}
