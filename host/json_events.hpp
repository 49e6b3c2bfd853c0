#pragma once
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

namespace aloft {

/// A reader of JSON as events (read_json_events, look_for_json in json_text.hpp), which overrides those it
/// needs: the others are passed over. Nothing is kept, so nesting costs no memory.
class JsonEvents : public nlohmann::json_sax<nlohmann::json> {
 protected:
  virtual void scalar(const nlohmann::json& /*value*/) {}  ///< null, a boolean or a number
  virtual void text(const std::string& /*value*/) {}
  virtual void opened(bool /*is_object*/) {}  ///< object or array; depth() is still that of what holds it
  virtual void closed() {}                    ///< depth() is that of what holds it again
  virtual void named(const std::string& /*key*/) {}
  /// Invalid JSON at this byte, of which `last` was read last. Nothing follows.
  virtual void failed(std::size_t position, const std::string& last) = 0;

  /// How many objects and arrays are open.
  [[nodiscard]] std::size_t depth() const { return depth_; }

 private:
  bool null() final { return pass(nullptr); }
  bool boolean(bool value) final { return pass(value); }
  bool number_integer(number_integer_t value) final { return pass(value); }
  bool number_unsigned(number_unsigned_t value) final { return pass(value); }
  bool number_float(number_float_t value, const string_t& /*spelled*/) final { return pass(value); }
  bool binary(binary_t& /*none in a text*/) final { return true; }
  bool string(string_t& value) final {
    text(value);
    return true;
  }
  bool start_object(std::size_t /*size*/) final { return open(true); }
  bool start_array(std::size_t /*size*/) final { return open(false); }
  bool end_object() final { return close(); }
  bool end_array() final { return close(); }
  bool key(string_t& name) final {
    named(name);
    return true;
  }
  bool parse_error(std::size_t position, const std::string& last_token,
                   const nlohmann::detail::exception& /*what*/) final {
    failed(position, last_token);
    return false;
  }

  bool pass(const nlohmann::json& value) {
    scalar(value);
    return true;
  }
  bool open(bool is_object) {
    opened(is_object);
    ++depth_;
    return true;
  }
  bool close() {
    --depth_;
    closed();
    return true;
  }

  std::size_t depth_ = 0;
};

}  // namespace aloft
