#!/usr/bin/env bash
# NEON computes what x86 computes: cross-compile tests/native/digest.cpp for 64-bit ARM, run it under qemu as a CPU
# without and as one with 8-bit matrix multiplication, and compare every line with this machine's own. On the way,
# check that the object files of every ISA, x86's too, are sealed (cmake/native_tests.cmake).
# Needs g++-aarch64-linux-gnu, qemu-user-static, cmake and a C++ compiler. Takes about a minute.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in cmake ctest aarch64-linux-gnu-g++ qemu-aarch64-static; do
    command -v "$tool" >/dev/null || { echo "check_neon: $tool is not installed" >&2; exit 1; }
done

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

compile() { # directory, further options of cmake
    local directory=$build/$1
    shift
    {
        cmake -S . -B "$directory" -DPHIGGUF_BUILD_PYTHON=OFF -DPHIGGUF_BUILD_DIGEST=ON -DPHIGGUF_WERROR=ON "$@" &&
            cmake --build "$directory" --parallel 2 &&
            ctest --test-dir "$directory" --tests-regex sealed --no-tests=error --output-on-failure
    } >"$directory.log" 2>&1 || { cat "$directory.log" >&2; exit 1; }
}

fail() {
    echo "check_neon: $*" >&2
    exit 1
}

# What a digest prints about the ISAs must be exactly the line given: one that silently fell back would agree too.
run() { # output name, expected ISAs or empty, command...
    local output=$build/$1.txt isas=$2
    shift 2
    "$@" >"$output" 2>"$output.isas" || { cat "$output.isas" >&2; fail "$* failed"; }
    echo "$(cat "$output.isas")   ($(wc -l <"$output") results)"
    [[ -s $output ]] || fail "no results"
    [[ -z $isas || $(cat "$output.isas") == "isas: $isas" ]] || fail "expected the ISAs $isas"
}

arm() { # CPU
    qemu-aarch64-static -L /usr/aarch64-linux-gnu -cpu "$1" "$build/arm/digest"
}

compile native
compile arm -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/aarch64-linux-gnu.cmake"

run native "" "$build/native/digest"
run dotprod "neon_dotprod scalar" arm cortex-a76
run i8mm "neon_i8mm neon_dotprod scalar" arm max

for isa in dotprod i8mm; do
    diff "$build/native.txt" "$build/$isa.txt" >&2 || fail "neon_$isa and this machine disagree"
done
echo "NEON equals this machine's results"
