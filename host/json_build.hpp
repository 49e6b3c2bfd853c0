#pragma once
#include <string>

namespace aloft {

// For JSON that is put together. A value that is absent becomes an array or object by the library's own
// push_back or [], but is left half-made when memory runs out in between, and destroying it then crashes:
// these two are safe.

/// The array of this name in `object`; made, empty, where there is none.
template <class Json>
Json& array_in(Json& object, const std::string& name) {
  if (!object.contains(name)) object[name] = Json::array();
  return object[name];
}
/// The object of this name in `object`; made, empty, where there is none.
template <class Json>
Json& object_in(Json& object, const std::string& name) {
  if (!object.contains(name)) object[name] = Json::object();
  return object[name];
}

}  // namespace aloft
