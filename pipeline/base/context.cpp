#include "pipeline/base/context.hpp"

#include <chrono>

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
  context_.device().push_range(name_.c_str());
  context_.device().reset_peak();
}

Context::Scope::~Scope() {
  context_.device().pop_range();
  const double seconds = now() - start_;
  context_.times_.push_back({name_, seconds, false, context_.device().peak_bytes()});
  context_.progress_.finish(name_, seconds, false);
}

}  // namespace aloft
