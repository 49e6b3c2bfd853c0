#include <cstdio>

#include "tools/aloft/build_info.hpp"

int main() { std::printf("aloft %s\n", aloft::build_info().version.c_str()); }
