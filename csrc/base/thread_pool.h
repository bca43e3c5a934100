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

// Calls body(i) once for every i in [0, n), from at most `threads` threads (0: num_threads()), in any order. The
// body must not throw. A call made while another thread is using the pool runs on its own thread alone.
void parallel_for(size_t n, int threads, const std::function<void(size_t)>& body);

}  // namespace phigguf
