/*
** bdl.hpp -- bdl.h for C++17: what is got is freed with its object, errors are exceptions.  Copy and change it.
*/
#ifndef BDL_HPP
#define BDL_HPP

#include <bdl.h>

#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace bdl_host {

struct error : std::runtime_error {
  std::string kind, file;
  int line;
  explicit error(const bdl_error_info &e) : std::runtime_error(e.text), kind(e.kind), file(e.file ? e.file : ""), line(e.line) {}
};

template <class T> struct type_of;
template <> struct type_of<float> { static constexpr bdl_type value = BDL_FLOAT32; };
template <> struct type_of<double> { static constexpr bdl_type value = BDL_FLOAT64; };
template <> struct type_of<int32_t> { static constexpr bdl_type value = BDL_INT32; };
template <> struct type_of<int64_t> { static constexpr bdl_type value = BDL_INT64; };

/* The numbers of a vector, where they are; unit: NULL, or "mV". */
template <class T> bdl_array over(std::vector<T> &v, const char *unit = nullptr) {
  bdl_array a = bdl_vector(type_of<T>::value, v.data(), static_cast<int64_t>(v.size()));
  a.unit = unit;
  return a;
}

class context {
  std::unique_ptr<bdl, decltype(&bdl_close)> b;

public:
  explicit context(const bdl_options &o = bdl_defaults()) : b(bdl_open(&o), bdl_close) {
    if (!b) throw std::bad_alloc();
  }
  bdl *get() const { return b.get(); }
  void check(bool failed) const {
    if (failed) throw error(*bdl_error_of(b.get()));
  }
  void run_file(const std::string &path) const { check(bdl_run_file(get(), path.c_str())); }
  void run_string(const std::string &text, const std::string &name) const { check(bdl_run_string(get(), text.c_str(), name.c_str())); }
};

/* These may not outlive their context. */
class function {
  const context *c;
  std::unique_ptr<bdl_function, decltype(&bdl_function_free)> f;

public:
  function(const context &c, const std::string &path) : c(&c), f(bdl_function_find(c.get(), path.c_str()), bdl_function_free) { c.check(!f); }
  bdl_function *get() const { return f.get(); }
  const context &of() const { return *c; }
  void operator()(std::initializer_list<bdl_array> in, std::initializer_list<bdl_array> out) const {
    std::vector<bdl_array> results(out);
    c->check(bdl_function_call(get(), in.begin(), static_cast<int>(in.size()), results.data(), static_cast<int>(results.size())));
  }
};

class program {
  const context *c;
  std::unique_ptr<bdl_program, decltype(&bdl_program_free)> p;

public:
  program(const function &f, std::initializer_list<bdl_array> in, std::initializer_list<bdl_array> out)
      : c(&f.of()), p(bdl_program_new(f.get(), in.begin(), static_cast<int>(in.size()), out.begin(), static_cast<int>(out.size())), bdl_program_free) {
    c->check(!p);
  }
  void run() const { c->check(bdl_program_run(p.get())); }
};

class cell {
  const context *c;
  std::unique_ptr<bdl_cell, decltype(&bdl_cell_free)> s;

public:
  cell(const context &c, const std::string &path) : c(&c), s(bdl_cell_find(c.get(), path.c_str()), bdl_cell_free) { c.check(!s); }
  void read(const bdl_array &a) const { c->check(bdl_cell_read(s.get(), &a)); }
  void write(const bdl_array &a) const { c->check(bdl_cell_write(s.get(), &a)); }
};

}

#endif
