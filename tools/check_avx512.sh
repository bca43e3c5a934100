#!/usr/bin/env bash
# AVX-512 and AVX-VNNI compute what plain C++ computes: compile tests/native/digest.cpp for them, run it here or, where
# this CPU lacks AVX-512, emulated (emulate_avx512.sh, tests/native/bochs.h), and compare the results.
# Needs cmake, a C++ compiler and, to emulate, what emulate_avx512.sh needs. Takes up to two minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

fail() {
    cat "$build/log" >&2
    echo "check_avx512: $*" >&2
    exit 1
}

compile() { # further compiler flags
    {
        cmake -S . -B "$build" -DPHIGGUF_BUILD_PYTHON=OFF -DPHIGGUF_BUILD_DIGEST=ON \
            "-DPHIGGUF_ONLY_ISAS=avx512vnni;avxvnni;scalar" "-DCMAKE_CXX_FLAGS=$*" \
            -DCMAKE_EXE_LINKER_FLAGS=-static &&
            cmake --build "$build" --parallel 2 --target digest
    } >"$build/log" 2>&1 || fail "cannot compile"
}

has_avx512() {
    local flags flag
    flags=" $(grep -m1 '^flags' /proc/cpuinfo) "
    for flag in avx512f avx512bw avx512dq avx512vl avx512_vnni; do
        [[ $flags == *" $flag "* ]] || return 1
    done
}

if has_avx512; then
    compile
    "$build/digest" >"$build/log" 2>&1 || fail "the results differ"
else
    compile -include "$PWD/tests/native/bochs.h" "-I$PWD/csrc"
    tools/emulate_avx512.sh "$build/digest" avx512vnni avxvnni >"$build/log" 2>&1 || fail "the results differ"
    diff <("$build/digest" scalar 2>/dev/null) <(grep -v '^isas:' "$build/log") >&2 || fail "scalar's results differ"
fi
grep '^isas:.*avx512vnni' "$build/log" || fail "AVX-512 did not run"
