// One pool of worker threads for the process. Results never depend on how many there are.
#pragma once

#include <cstddef>
#include <functional>

namespace phigguf {

int default_threads();  // processors this process may run on
int num_threads();
void set_num_threads(int n);

// Raised out of parallel_for on the calling thread when the interrupt check says to stop.
struct Interrupted {};

// Asked about every 50 ms by the calling thread while work is under way; true stops the work.
void set_interrupt_check(bool (*check)());

// A reference to something that is called with a number; it owns and allocates nothing.
class NumberedWork {
 public:
  template <class Body>
  NumberedWork(const Body& body)
      : body_(&body), call_([](const void* target, size_t i) { (*static_cast<const Body*>(target))(i); }) {}

  void operator()(size_t i) const { call_(body_, i); }

 private:
  const void* body_;
  void (*call_)(const void* target, size_t i);
};

// Calls body(i) once for every i in [0, n), n below 2^32, from at most `threads` threads (0: num_threads()), in any
// order. The body must not throw. On the calling thread it finds that thread's float environment, which should be the
// default one, as it is on the others. A call made while the pool is in use, from a body or from another thread, runs
// on its own thread alone. `should_stop` is asked like the interrupt check, and as often.
void parallel_for(size_t n, int threads, NumberedWork body, const std::function<bool()>& should_stop = nullptr);

}  // namespace phigguf
