#include "tests/simt/symbols.hpp"

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <map>
#include <set>
#include <string_view>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace simt {
namespace {

struct Symbol {
  std::string_view name;
  std::uintptr_t address;
  std::size_t bytes;
  bool object, function, kernel, zero_initialised;
};

std::uintptr_t load_address() {
  std::uintptr_t base = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        *static_cast<std::uintptr_t*>(out) = info->dlpi_addr;
        return 1;  // the first object is the program
      },
      &base);
  return base;
}

/// The program's file, for as long as it runs: with debug information it has 100 MB, of which this reads a
/// few.
std::string_view program_file() {
  const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  struct stat about {};
  if (file < 0 || fstat(file, &about) != 0) return {};
  const auto bytes = static_cast<std::size_t>(about.st_size);
  void* p = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  return p == MAP_FAILED ? std::string_view{} : std::string_view{static_cast<const char*>(p), bytes};
}

std::vector<Symbol> read_symbols() {
  const std::string_view file = program_file();
  if (file.size() < sizeof(Elf64_Ehdr)) return {};
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(file.data());
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(file.data() + header->e_shoff);
  const char* section_names = file.data() + sections[header->e_shstrndx].sh_offset;
  const std::uintptr_t base = load_address();
  std::vector<Symbol> out;
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* symbol = reinterpret_cast<const Elf64_Sym*>(file.data() + sections[i].sh_offset);
    const char* names = file.data() + sections[sections[i].sh_link].sh_offset;
    for (const auto* end = symbol + sections[i].sh_size / sizeof *symbol; symbol < end; ++symbol) {
      const int type = ELF64_ST_TYPE(symbol->st_info);
      if (symbol->st_shndx >= header->e_shnum || (type != STT_OBJECT && type != STT_FUNC)) continue;
      const Elf64_Shdr& section = sections[symbol->st_shndx];
      const bool kernel = section_names + section.sh_name == std::string_view("simt_kernels");
      out.push_back({names + symbol->st_name, base + symbol->st_value, symbol->st_size, type == STT_OBJECT,
                     type == STT_FUNC, type == STT_FUNC && kernel, section.sh_type == SHT_NOBITS});
    }
  }
  return out;
}

const std::vector<Symbol>& symbols() {
  static const std::vector<Symbol> all = read_symbols();
  return all;
}

Range variable(const Symbol& s) {
  Range out{reinterpret_cast<char*>(s.address), s.bytes};
#ifdef __SANITIZE_ADDRESS__  // clang counts the red zone into the symbol's size
  if (void* zone = __asan_region_is_poisoned(out.begin, out.bytes); zone != nullptr)
    out.bytes = static_cast<std::size_t>(static_cast<char*>(zone) - out.begin);
#endif
  return out;
}

/// How the names of a function's statics begin: _Z<function> -> _ZZ<function>E.
std::string scope_of(std::string_view function) { return "_ZZ" + std::string(function.substr(2)) + "E"; }

struct SharedVariable {
  Range place;
  std::string_view scope;  ///< of the function that declares it
  bool of_a_kernel;
};
const std::vector<SharedVariable>& static_shared() {
  static const std::vector<SharedVariable> all = [] {
    std::set<std::string_view> scopes;
    std::set<std::string> scopes_of_kernels;
    for (const Symbol& s : symbols()) {
      if (s.kernel && s.name.starts_with("_Z")) scopes_of_kernels.insert(scope_of(s.name));
      std::size_t mark = s.name.find("simt_mark_");
      if (mark == std::string::npos) continue;
      while (mark > 0 && std::isdigit(static_cast<unsigned char>(s.name[mark - 1])) != 0) --mark;
      scopes.emplace(s.name.substr(0, mark));  // _ZZ<function>E<length>simt_mark_<n>
    }
    std::vector<SharedVariable> out;
    for (const Symbol& s : symbols()) {
      if (!s.object || !s.zero_initialised) continue;
      const auto after = scopes.upper_bound(s.name);
      if (after == scopes.begin() || !s.name.starts_with(*std::prev(after))) continue;
      const std::string_view scope = *std::prev(after);
      out.push_back({variable(s), scope, scopes_of_kernels.contains(std::string(scope))});
    }
    return out;
  }();
  return all;
}

/// "" in a program that is stripped.
std::string own_scope(const void* kernel) {
  const std::string_view name = mangled_name(kernel);
  return name.starts_with("_Z") ? scope_of(name) : "";
}

}  // namespace

const std::vector<Range>& static_shared_within(const void* kernel) {
  static std::map<const void*, std::vector<Range>> known;
  const auto [entry, first_time] = known.try_emplace(kernel);
  if (!first_time) return entry->second;
  const std::string own = own_scope(kernel);
  for (const SharedVariable& v : static_shared())
    if (!v.of_a_kernel || v.scope == own) entry->second.push_back(v.place);
  return entry->second;
}

std::size_t static_shared_bytes(const void* kernel) {
  static std::map<const void*, std::size_t> known;
  const auto [entry, first_time] = known.try_emplace(kernel, 0);
  if (!first_time) return entry->second;
  const std::string own = own_scope(kernel);
  for (const SharedVariable& v : static_shared())
    if (v.scope == own) entry->second += v.place.bytes;
  return entry->second;
}

const char* mangled_name(const void* address) {
  for (const Symbol& s : symbols())
    if (s.function && s.address == reinterpret_cast<std::uintptr_t>(address)) return s.name.data();
  return "";
}

std::string function_name(const void* address) {
  const std::string name{mangled_name(address)};
  if (name.empty()) return "?";
  int status = 0;
  char* plain = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string out = status == 0 ? plain : name;
  std::free(plain);
  return out;
}

}  // namespace simt
