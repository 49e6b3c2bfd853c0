#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "host/atomic_file.hpp"
#include "host/error.hpp"
#include "tests/fuzz/target.hpp"

// libFuzzer's entry points, or those of driver.cpp where the compiler has none. ALOFT_FUZZ_TARGET names the
// target; the program called with --targets lists them, with --seeds=FOLDER it writes the target's seeds
// there, and its dictionary to FOLDER.dict.

namespace aloft::fuzz {
namespace {

const Target* chosen = nullptr;

std::vector<Target> all_targets() {
  std::vector<Target> all;
  for (const auto some : {json_targets, tensor_targets, corpus_targets, run_targets})
    for (Target& t : some()) all.push_back(std::move(t));
  return all;
}

void choose() {
  const char* name = std::getenv("ALOFT_FUZZ_TARGET");
  for (const Target& t : targets())
    if (name != nullptr && t.name == name) chosen = &t;
  if (chosen != nullptr) return;
  std::cerr << "fuzz: set ALOFT_FUZZ_TARGET to one of what --targets lists\n";
  std::exit(2);
}

void write_seeds(const std::string& folder) {
  std::filesystem::create_directories(folder);
  int number = 0;
  for (const std::string& seed : chosen->seeds())
    std::ofstream(folder + "/seed-" + std::to_string(number++), std::ios::binary) << seed;
  std::ofstream words(folder + ".dict");
  for (const std::string& word : chosen->words) {
    words << '"';
    for (const char c : word) {
      char text[8];
      std::snprintf(text, sizeof text, "\\x%02X", static_cast<unsigned>(static_cast<unsigned char>(c)));
      words << text;
    }
    words << "\"\n";
  }
}

}  // namespace

const std::vector<Target>& targets() {
  static const std::vector<Target> all = all_targets();
  return all;
}

const std::string& file_with(std::string_view data, int number) {
  struct Memory {
    int fd = -1;
    std::string path;
    Memory() : fd(::memfd_create("aloft-fuzz", MFD_CLOEXEC)), path("/proc/self/fd/" + std::to_string(fd)) {}
  };
  static std::array<Memory, 4> files;
  Memory& file = files.at(static_cast<std::size_t>(number));
  require(file.fd >= 0 && ::ftruncate(file.fd, 0) == 0, "no file in memory");
  for (std::size_t done = 0; done < data.size();) {
    const ssize_t n = ::pwrite(file.fd, data.data() + done, data.size() - done, static_cast<off_t>(done));
    require(n > 0, "the file in memory cannot be written");
    done += static_cast<std::size_t>(n);
  }
  return file.path;
}

const std::string& own_folder() {
  static const std::string folder = [] {
    const bool memory = ::access("/dev/shm", W_OK) == 0;
    std::string name =
        (memory ? "/dev/shm" : std::filesystem::temp_directory_path().string()) + "/aloft-fuzz-XXXXXX";
    require(::mkdtemp(name.data()) != nullptr, "no folder");
    static std::string kept = name;
    std::atexit([] {
      std::error_code ignored;
      std::filesystem::remove_all(kept, ignored);
    });
    return name;
  }();
  return folder;
}

const std::vector<Architecture>& built_in_architectures() {
  static const std::vector<Architecture> all = [] {
    std::vector<Architecture> out;
    for (const auto& entry : std::filesystem::directory_iterator(ALOFT_ARCHITECTURES))
      if (entry.path().extension() == ".json")
        out.push_back(parse_architecture(read_file(entry.path().string()), entry.path().string()));
    require(!out.empty(), "no built-in architectures");
    return out;
  }();
  return all;
}

void require(bool ok, const char* what) {
  if (ok) return;
  std::cerr << "fuzz: " << what << '\n';
  std::abort();
}

}  // namespace aloft::fuzz

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  using namespace aloft::fuzz;
  for (int k = 1; k < *argc; ++k) {
    const std::string word = (*argv)[k];
    if (word == "--targets") {
      for (const Target& t : targets()) std::cout << t.name << '\n';
      std::cout.flush();
      std::_Exit(0);
    }
    if (word.rfind("--seeds=", 0) == 0) {
      choose();
      write_seeds(word.substr(8));
      std::_Exit(0);
    }
  }
  choose();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace aloft;
  try {
    fuzz::chosen->read({reinterpret_cast<const char*>(data), size});
  } catch (const InputError&) {
  } catch (const UsageError&) {
  } catch (const ResourceError&) {
  } catch (const std::exception& e) {
    std::cerr << "fuzz: an error that is no file's: " << e.what() << '\n';
    std::abort();
  }
  return 0;
}
