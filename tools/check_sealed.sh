#!/usr/bin/env bash
# An ISA's object files may define one symbol that the linker sees, phigguf::<isa>::kernel_table(). Were there
# another, say an inline function, the linker might keep this copy of it for every CPU, those that lack the ISA too.
#
# usage: check_sealed.sh NM ISA OBJECT...
set -euo pipefail
nm=$1 isa=$2
shift 2

table="T phigguf::$isa::kernel_table()"
symbols=$("$nm" --defined-only --extern-only --demangle "$@" | sed -n -E 's/^[0-9a-f]* +([A-Za-z] )/\1/p')
leaks=$(grep -vxF "$table" <<<"$symbols" || true)
if [[ -n $leaks ]]; then
    printf '%s is not sealed: it also defines\n%s\n' "$isa" "$leaks"
    exit 1
fi
if [[ $symbols != "$table" ]]; then
    echo "$isa does not define its kernel table"
    exit 1
fi
