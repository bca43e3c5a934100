#!/usr/bin/env bash
# What an ISA's object files show the linker are functions of phigguf::<isa>. Were there anything else, say an inline
# function of namespace std, the linker might keep this copy of it for every CPU, those that lack the ISA too.
#
# usage: check_sealed.sh NM ISA OBJECT...
set -euo pipefail
nm=$1 isa=$2
shift 2

symbols=$("$nm" --defined-only --extern-only --demangle "$@" | sed -n -E 's/^[0-9a-f]* +([A-Za-z] )/\1/p')
leaks=$(grep -v "^T phigguf::$isa::" <<<"$symbols" || true)
if [[ -n $leaks ]]; then
    printf '%s is not sealed: it also defines\n%s\n' "$isa" "$leaks"
    exit 1
fi
