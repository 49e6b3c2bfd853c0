#include "pipeline/base/context.hpp"

#include <chrono>

#include "host/address_space.hpp"

namespace aloft {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Context::Scope Context::scope(std::string name) { return {*this, std::move(name)}; }

Context::Scope::Scope(Context& context, std::string name)
    : context_(context), name_(std::move(name)), start_(now()) {
  context_.check_interrupt();
  return_freed_memory();  // what the stage before took is not beside what this one does
  context_.device().push_range(name_.c_str());
  context_.device().reset_peak();
  // Room for the rows of all open ones, so that ending them needs no memory.
  context_.times_.reserve(context_.times_.size() + ++context_.open_scopes_);
}

Context::Scope::~Scope() {
  context_.device().pop_range();
  --context_.open_scopes_;
  const double seconds = now() - start_;
  try {
    const auto& row = context_.times_.emplace_back(
        StageTime{std::move(name_), seconds, false, context_.device().peak_bytes()});
    context_.progress_.finish(row.name, seconds, false);
  } catch (...) {  // no memory for the line that says so
  }
}

}  // namespace aloft
