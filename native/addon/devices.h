// Plug-ins and their devices. A plug-in is loaded once for the process and stays, since its threads and its driver's do.

#ifndef STEPCREDIT_ADDON_DEVICES_H
#define STEPCREDIT_ADDON_DEVICES_H

#include <mutex>
#include <string>
#include <vector>

#include "../backend.h"

// A device of a plug-in, with its queues; any thread may use it. Lives as long as the process.
class Device {
 public:
  Device(const ScPlugin* plugin_, int32_t index_) : plugin(plugin_), index(index_) {}

  const ScPlugin* const plugin;
  const int32_t index;

  // A queue that nobody else uses until it is given back, with all of its work done; null with the reason in `error`.
  ScStream take_queue(ScError* error);
  void give_back(ScStream queue);

 private:
  std::mutex mutex;
  std::vector<ScStream> idle;
};

struct DeviceEntry {
  ScDevice description;
  Device* device;
};

// What became of a plug-in: "not-built", "load-failed", "abi-mismatch", "present-no-device" or "ready", and why where it is not
// ready.
struct LoadedPlugin {
  const char* status;
  std::string why;
  std::string build;
  std::vector<DeviceEntry> devices;
  const ScPlugin* plugin;  // null where none was loaded
};

// Loads the library at a path, and opens its devices once. A file that was missing or broken is looked at again by the next
// call.
LoadedPlugin load_plugin(const std::string& path);

#endif
