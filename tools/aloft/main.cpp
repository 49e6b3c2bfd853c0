#include <malloc.h>

#include "tools/aloft/before_libraries.hpp"
#include "tools/aloft/commands.hpp"

namespace {

using BeforeLibraries = void (*)(int, char**, char**);
[[gnu::section(".preinit_array"), gnu::used]] BeforeLibraries before_libraries =
    aloft::refuse_too_few_addresses;

}  // namespace

int main(int argc, char** argv) {
  // Matrices go back to the system when they are freed: glibc would keep those below 32 MB once one was
  // freed, and with the holes between them a run takes up to a fifth more than it has in use.
  (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
  return aloft::run_program(argc, argv);
}
