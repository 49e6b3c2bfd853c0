#include <cuda_runtime_api.h>
#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "host/cuda_check.hpp"

namespace aloft {

std::string kernel_name(const void* kernel) {
  const char* mangled = nullptr;
  check(cudaFuncGetName(&mangled, kernel));
  const std::unique_ptr<char, void (*)(void*)> plain(abi::__cxa_demangle(mangled, nullptr, nullptr, nullptr),
                                                     std::free);
  if (plain == nullptr) return mangled;
  // [type] namespaces::(anonymous namespace)::name[<types>](arguments), or of what each_element.cuh runs
  // [type] namespaces::each_element<&namespaces::(anonymous namespace)::name, types>(arguments)
  std::string name = plain.get();
  constexpr std::string_view unnamed = "(anonymous namespace)::";
  if (const auto at = name.find(unnamed); at != std::string::npos) name.erase(0, at + unnamed.size());
  name.erase(std::min(name.find_first_of("<(,>"), name.size()));
  if (const auto at = name.find_last_of(": "); at != std::string::npos) name.erase(0, at + 1);
  return name;
}

}  // namespace aloft
