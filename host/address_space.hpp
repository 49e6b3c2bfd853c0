#pragma once
#include <cstdint>

namespace aloft {

/// Bytes of addresses that `threads` workers reserve beside what they use: a stack each, and the buffer that
/// OpenBLAS maps for every caller at once (and, refused it, asks for again for ever). 0 threads: one for each
/// processor.
[[nodiscard]] std::uint64_t address_space_of_workers(int threads);

/// Throws ResourceError when the limit of the address space (`ulimit -v`, `ulimit -d`) leaves no room for
/// that. Called before the first thread starts.
void expect_address_space(int threads);

/// Gives memory that was freed in small pieces back to the system, where malloc keeps it. A few milliseconds.
void return_freed_memory() noexcept;

}  // namespace aloft
