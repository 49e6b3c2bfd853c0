#include "tools/aloft/commands.hpp"

int main(int argc, char** argv) { return aloft::run_program({argv + 1, argv + argc}); }
