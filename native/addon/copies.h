// Copies of ranges of memory. Ranges that overlap lie in one copy, as far from each other as they were.

#ifndef STEPCREDIT_ADDON_COPIES_H
#define STEPCREDIT_ADDON_COPIES_H

#include <stddef.h>

#include <vector>

class Copies {
 public:
  Copies() = default;
  Copies(const Copies&) = delete;
  Copies& operator=(const Copies&) = delete;
  ~Copies();

  // Before make(): a range to be copied; not empty.
  void add(const void* begin, size_t bytes);

  // Copies every range; false where there is no memory.
  bool make();

  // After make(): where the copy of an address of a range lies.
  char* of(const void* address) const;

 private:
  struct Range {
    const char* begin;
    const char* end;
    void* allocated;
    char* copy;
  };
  std::vector<Range> ranges;
};

#endif
