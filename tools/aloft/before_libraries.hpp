#pragma once

namespace aloft {

/// For a program's .preinit_array, which runs before the constructors of its shared libraries: OpenBLAS maps
/// a buffer for each of its threads in its constructor, and asks for ever where the limit of the address
/// space refuses it. Prints one line and ends the program with exit code 4 when there is no room.
void refuse_too_few_addresses(int argc, char** argv, char** environment);

}  // namespace aloft
