#include "devices.h"

#include <dlfcn.h>
#include <unistd.h>

#include <map>
#include <memory>

ScStream Device::take_queue(ScError* error) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    if (!idle.empty()) {
      const ScStream queue = idle.back();
      idle.pop_back();
      return queue;
    }
  }
  ScStream queue = nullptr;
  return plugin->open_queue(index, &queue, error) == 0 ? queue : nullptr;
}

void Device::give_back(ScStream queue) {
  const std::lock_guard<std::mutex> lock(mutex);
  idle.push_back(queue);
}

namespace {

std::string version_text(const char* of, uint32_t version, uint32_t bytes) {
  return std::string(of) + " has ABI version " + std::to_string(version) + " with " + std::to_string(bytes) + " bytes";
}

// What differs from the tables that this addon was compiled with; empty where nothing does. Nothing behind the first two
// members is read before they are known to be right.
std::string mismatch(const ScPlugin* plugin) {
  if (!plugin) return "it gives no table";
  if (plugin->abi_version != kScAbiVersion || plugin->table_bytes != sizeof(ScPlugin))
    return version_text("the plug-in", plugin->abi_version, plugin->table_bytes) + ", " +
           version_text("this addon", kScAbiVersion, sizeof(ScPlugin));
  if (plugin->ops->abi_version != kScAbiVersion || plugin->ops->table_bytes != sizeof(ScBackend))
    return version_text("the plug-in's table of ops", plugin->ops->abi_version, plugin->ops->table_bytes) + ", " +
           version_text("this addon's", kScAbiVersion, sizeof(ScBackend));
  return "";
}

std::string reason(const ScError& error) { return error.text[0] ? error.text : "it does not say why"; }

void look_for_devices(const ScPlugin* plugin, LoadedPlugin* loaded) {
  loaded->build = plugin->build;
  loaded->plugin = plugin;
  loaded->status = "present-no-device";
  ScError error = {};
  int32_t count = 0;
  if (plugin->count_devices(&count, &error) != 0) {
    loaded->why = reason(error);
    return;
  }
  loaded->why = "the driver reports no device";
  for (int32_t index = 0; index < count; ++index) {
    ScDevice description = {};
    if (plugin->describe_device(index, &description, &error) != 0) {
      loaded->why = reason(error);
      loaded->devices.clear();
      return;
    }
    loaded->devices.push_back({description, new Device(plugin, index)});
  }
  if (count == 0) return;
  loaded->status = "ready";
  loaded->why.clear();
}

LoadedPlugin load(const std::string& path) {
  if (access(path.c_str(), F_OK) != 0) return {"not-built", "there is no file " + path, "", {}, nullptr};
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* const text = dlerror();
    return {"load-failed", text ? text : "the system does not say why", "", {}, nullptr};
  }
  const auto entry = reinterpret_cast<ScPluginEntry>(dlsym(library, SC_PLUGIN_SYMBOL));
  if (!entry) return {"load-failed", path + " has no symbol " SC_PLUGIN_SYMBOL, "", {}, nullptr};
  const ScPlugin* const plugin = entry();
  const std::string differs = mismatch(plugin);
  if (!differs.empty()) return {"abi-mismatch", differs, "", {}, nullptr};
  LoadedPlugin loaded = {};
  look_for_devices(plugin, &loaded);
  return loaded;
}

struct Plugins {
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<LoadedPlugin>> by_path;
};

// Never destroyed: calls may run while the process ends.
Plugins& plugins() {
  static Plugins* const instance = new Plugins;
  return *instance;
}

}  // namespace

LoadedPlugin load_plugin(const std::string& path) {
  Plugins& all = plugins();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto known = all.by_path.find(path);
  if (known != all.by_path.end()) return *known->second;
  LoadedPlugin loaded = load(path);
  if (!loaded.devices.empty()) all.by_path.emplace(path, std::make_unique<LoadedPlugin>(loaded));
  return loaded;
}
