// Makes calls of the vendor's class as lines on standard input ask for them, each line on the thread that it names, and
// answers each with a line. Tests use it to drive the stand-in in a process that may end.
//
//   THREAD CALL ARGUMENT...     ->     THREAD STATUS RESULT...   or   THREAD threw TEXT
//
// Calls of one thread are made one after the other. Texts are percent-encoded; a lone `-` is an empty text or list, `,`
// separates numbers. It is compiled with the new string ABI, the libraries with the old one, as a binding may be.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "control.h"
#include "driver_words.h"
#include "native/abi/acl.h"
#include "native/abi/llm_datadist.h"

namespace driver {
namespace {

std::string Answer(uint32_t status) { return std::to_string(status); }

std::string Answer(uint32_t status, const std::vector<Status>& results) {
  std::string answer = Answer(status);
  for (const Status result : results) answer += ' ' + std::to_string(result);
  return answer;
}

// Objects stay until they are deleted by a call; names of deleted ones still mean the place where they were.
class Objects {
 public:
  LlmDataDist* At(const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return objects_.at(name);
  }

  void Put(const std::string& name, LlmDataDist* object) {
    const std::lock_guard<std::mutex> lock(mutex_);
    objects_[name] = object;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, LlmDataDist*> objects_;
};

Objects& TheObjects() {
  static Objects& objects = *new Objects;
  return objects;
}

std::string Call(const Words& w) {
  const std::string& call = w.at(1);
  const auto object = [&] { return TheObjects().At(w.at(2)); };
  if (call == "new") {
    TheObjects().Put(w.at(2), new LlmDataDist(ToUint64(w.at(3)), static_cast<LlmRole>(ToInt32(w.at(4)))));
    return Answer(0);
  }
  if (call == "delete") {
    // Only the destructor: the memory stays, so that a call afterwards is the stand-in's to notice.
    object()->~LlmDataDist();
    return Answer(0);
  }
  if (call == "init") return Answer(object()->Initialize(ToOptions(w, 3)));
  if (call == "finalize") {
    object()->Finalize();
    return Answer(0);
  }
  if (call == "set_role") return Answer(object()->SetRole(static_cast<LlmRole>(ToInt32(w.at(3))), ToOptions(w, 4)));
  if (call == "link") {
    std::vector<Status> results;
    const Status status = object()->LinkLlmClusters(ToClusters(w, 4), results, ToInt32(w.at(3)));
    return Answer(status, results);
  }
  if (call == "unlink") {
    std::vector<Status> results;
    const Status status = object()->UnlinkLlmClusters(ToClusters(w, 5), results, ToInt32(w.at(3)), w.at(4) == "1");
    return Answer(status, results);
  }
  if (call == "register") {
    int64_t cache_id = -7;
    const Status status = object()->RegisterKvCache(ToDesc(w.at(3)), ToNumbers(w.at(4)), {}, cache_id);
    return Answer(status) + ' ' + std::to_string(cache_id);
  }
  if (call == "unregister") return Answer(object()->UnregisterKvCache(ToInt64(w.at(3))));
  if (call == "pull_cache") {
    Cache dst{};
    dst.cache_id = ToInt64(w.at(4));
    return Answer(
        object()->PullKvCache(ToIndex(w.at(3)), dst, ToUint32(w.at(5)), ToInt64(w.at(6)), ToExtParam(w.at(7))));
  }
  if (call == "pull_blocks") {
    Cache dst{};
    dst.cache_id = ToInt64(w.at(4));
    return Answer(object()->PullKvBlocks(ToIndex(w.at(3)), dst, ToNumbers(w.at(5)), ToNumbers(w.at(6)),
                                         ToExtParam(w.at(7))));
  }
  if (call == "push_cache") {
    return Answer(object()->PushKvCache(ToCache(w.at(3), w.at(4)), ToIndex(w.at(5)), ToUint32(w.at(6)),
                                        ToInt64(w.at(7)), ToExtParam(w.at(8))));
  }
  if (call == "push_blocks") {
    return Answer(object()->PushKvBlocks(ToCache(w.at(3), w.at(4)), ToIndex(w.at(5)), ToNumbers(w.at(6)),
                                         ToNumbers(w.at(7)), ToExtParam(w.at(8))));
  }
  if (call == "allocate_cache") {
    Cache cache{};
    return Answer(object()->AllocateCache(CacheDesc{}, cache));
  }
  if (call == "deallocate_cache") return Answer(object()->DeallocateCache(-1));
  if (call == "copy_cache") return Answer(object()->CopyKvCache(Cache{}, Cache{}, 0, 0, 0, -1));
  if (call == "copy_blocks") return Answer(object()->CopyKvBlocks(Cache{}, Cache{}, {}, {}));
  throw std::invalid_argument("no such call of the library: " + call);
}

// How often a call takes, in nanoseconds: `bench OBJECT PAIRS CALLS`.
std::string Bench(const Words& w) {
  LlmDataDist* const object = TheObjects().At(w.at(2));
  std::vector<uint64_t> blocks(ToUint64(w.at(3)));
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = i;
  const uint64_t calls = ToUint64(w.at(4));
  const CacheIndex src{1, 1, 0, {}};
  Cache dst{};
  dst.cache_id = 1;
  uint32_t worst = 0;
  const auto start = std::chrono::steady_clock::now();
  for (uint64_t i = 0; i < calls; ++i) worst |= object->PullKvBlocks(src, dst, blocks, blocks, {});
  const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
  return Answer(worst) + ' ' + std::to_string(time.count() / static_cast<double>(calls));
}

std::string CallRuntime(const Words& w) {
  const std::string& call = w.at(1);
  const auto status = [](aclError error) { return std::to_string(error); };
  if (call == "acl_init") return status(aclInit(nullptr));
  if (call == "acl_finalize") return status(aclFinalize());
  if (call == "set_device") return status(aclrtSetDevice(ToInt32(w.at(2))));
  if (call == "reset_device") return status(aclrtResetDevice(ToInt32(w.at(2))));
  if (call == "device_count") {
    uint32_t count = 0;
    const aclError error = aclrtGetDeviceCount(&count);
    return status(error) + ' ' + std::to_string(count);
  }
  if (call == "soc_name") return "0 " + Encode(aclrtGetSocName());
  if (call == "version") {
    char package[] = "runtime";
    char version[128] = "";
    const aclError error = aclsysGetVersionStr(package, version);
    return status(error) + ' ' + Encode(version);
  }
  if (call == "malloc" || call == "malloc_host") {
    void* address = nullptr;
    const size_t size = ToUint64(w.at(2));
    const aclError error = call == "malloc" ? aclrtMalloc(&address, size, kAclHugeFirst)
                                            : aclrtMallocHost(&address, size);
    return status(error) + ' ' + std::to_string(reinterpret_cast<uintptr_t>(address));
  }
  if (call == "free") return status(aclrtFree(ToAddress(w.at(2))));
  if (call == "free_host") return status(aclrtFreeHost(ToAddress(w.at(2))));
  if (call == "copy_in") {
    const std::string bytes = FromHex(w.at(4));
    return status(aclrtMemcpy(ToAddress(w.at(2)), bytes.size(), bytes.data(), bytes.size(), ToInt32(w.at(3))));
  }
  if (call == "copy_out") {
    std::vector<unsigned char> bytes(ToUint64(w.at(4)));
    const aclError error =
        aclrtMemcpy(bytes.data(), bytes.size(), ToAddress(w.at(2)), bytes.size(), ToInt32(w.at(3)));
    return status(error) + ' ' + ToHex(bytes.data(), bytes.size());
  }
  if (call == "copy") {
    const size_t size = ToUint64(w.at(4));
    return status(aclrtMemcpy(ToAddress(w.at(2)), size, ToAddress(w.at(3)), size, kAclDeviceToDevice));
  }
  // Writes past the runtime, as a transfer of a peer would.
  if (call == "poke") {
    *static_cast<unsigned char*>(ToAddress(w.at(2))) = static_cast<unsigned char>(ToUint32(w.at(3)));
    return Answer(0);
  }
  if (call == "error_text") return "0 " + Encode(aclGetRecentErrMsg());
  if (call == "control") {
    const char* const problem = standin_command(Decode(w.at(2)).c_str());
    return problem == nullptr ? "0" : "1 " + Encode(problem);
  }
  if (call == "wait") return status(standin_wait_entered(w.at(2).c_str(), ToUint64(w.at(3)), ToUint32(w.at(4))));
  if (call == "wait_held") {
    return status(standin_wait_held(w.at(2).c_str(), ToUint64(w.at(3)), ToUint32(w.at(4))));
  }
  if (call == "release") return std::to_string(standin_release(w.at(2).c_str(), ToUint64(w.at(3))));
  if (call == "read") {
    const std::unique_ptr<char, decltype(&standin_free_text)> text(standin_read(w.at(2).c_str()), standin_free_text);
    return text == nullptr ? "1" : "0 " + Encode(text.get());
  }
  if (call == "bench") return Bench(w);
  return "";
}

std::string Make(const Words& words) {
  try {
    const std::string answer = CallRuntime(words);
    return answer.empty() ? Call(words) : answer;
  } catch (const std::exception& exception) {
    return "threw " + Encode(exception.what());
  } catch (int number) {
    return "threw " + std::to_string(number);
  }
}

class Worker {
 public:
  explicit Worker(const std::string& name) {
    std::thread([this, name] { Run(name); }).detach();
  }

  void Add(Words words) {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(words));
    changed_.notify_one();
  }

 private:
  void Run(const std::string& name) {
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return !queue_.empty(); });
      const Words words = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      const std::string line = name + ' ' + Make(words) + '\n';
      std::fwrite(line.data(), 1, line.size(), stdout);
      std::fflush(stdout);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Words> queue_;
};

// Never destroyed: their threads may be inside of calls when the input ends.
std::map<std::string, Worker*>& TheWorkers() {
  static auto& workers = *new std::map<std::string, Worker*>;
  return workers;
}

}  // namespace
}  // namespace driver

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream stream(line);
    driver::Words words;
    for (std::string word; stream >> word;) words.push_back(word);
    driver::Worker*& worker = driver::TheWorkers()[words.at(0)];
    if (worker == nullptr) worker = new driver::Worker(words[0]);
    worker->Add(std::move(words));
  }
  return 0;
}
