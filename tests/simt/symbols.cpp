#include "tests/simt/symbols.hpp"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <cctype>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace simt {
namespace {

struct Symbol {
  std::string name;
  std::uintptr_t address;
  std::size_t bytes;
  bool object, function, zero_initialised;
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

std::vector<Symbol> read_symbols() {
  std::ifstream in("/proc/self/exe", std::ios::binary);
  const std::vector<char> file((std::istreambuf_iterator<char>(in)), {});
  if (file.size() < sizeof(Elf64_Ehdr)) return {};
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(file.data());
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(file.data() + header->e_shoff);
  const std::uintptr_t base = load_address();
  std::vector<Symbol> out;
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* symbol = reinterpret_cast<const Elf64_Sym*>(file.data() + sections[i].sh_offset);
    const char* names = file.data() + sections[sections[i].sh_link].sh_offset;
    for (const auto* end = symbol + sections[i].sh_size / sizeof *symbol; symbol < end; ++symbol) {
      if (symbol->st_shndx >= header->e_shnum) continue;
      const int type = ELF64_ST_TYPE(symbol->st_info);
      out.push_back({names + symbol->st_name, base + symbol->st_value, symbol->st_size, type == STT_OBJECT,
                     type == STT_FUNC, sections[symbol->st_shndx].sh_type == SHT_NOBITS});
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

}  // namespace

std::vector<Range> find_static_shared() {
  std::set<std::string> scopes;  // functions that declare shared memory, as their statics' names begin
  for (const Symbol& s : symbols()) {
    std::size_t mark = s.name.find("simt_mark_");
    if (mark == std::string::npos) continue;
    while (mark > 0 && std::isdigit(static_cast<unsigned char>(s.name[mark - 1])) != 0) --mark;
    scopes.insert(s.name.substr(0, mark));  // _ZZ<function>E<length>simt_mark_<n> -> _ZZ<function>E
  }
  std::vector<Range> out;
  for (const Symbol& s : symbols()) {
    if (!s.object || !s.zero_initialised) continue;
    const auto after = scopes.upper_bound(s.name);
    if (after != scopes.begin() && s.name.starts_with(*std::prev(after))) out.push_back(variable(s));
  }
  return out;
}

const std::string& mangled_name(const void* address) {
  static const std::string none;
  for (const Symbol& s : symbols())
    if (s.function && s.address == reinterpret_cast<std::uintptr_t>(address)) return s.name;
  return none;
}

std::string function_name(const void* address) {
  const std::string& name = mangled_name(address);
  if (name.empty()) return "?";
  int status = 0;
  char* plain = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string out = status == 0 ? plain : name;
  std::free(plain);
  return out;
}

std::size_t static_shared_bytes(const void* kernel) {
  static std::map<const void*, std::size_t> known;
  const auto [entry, first_time] = known.try_emplace(kernel, 0);
  const std::string& name = mangled_name(kernel);
  if (!first_time || !name.starts_with("_Z")) return entry->second;
  const std::string scope = "_ZZ" + name.substr(2) + "E";  // as the names of its statics begin
  for (const Symbol& s : symbols())
    if (s.object && s.zero_initialised && s.name.starts_with(scope)) entry->second += variable(s).bytes;
  return entry->second;
}

}  // namespace simt
