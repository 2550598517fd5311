#!/bin/sh
# Stands before rustc in the build of `./x fuzz`: what reads bytes from outside reports its edges to libFuzzer, by passes that a
# stable rustc has. Everything else, such as cryptography and sled, stays as fast as people have it and is no noise in the coverage.
set -eu

crate='' previous=''
for argument in "$@"; do
    if [ "$previous" = --crate-name ]; then crate=$argument; fi
    previous=$argument
done

case $crate in
    fuzz | keys | crdt | automerge | hexane | leb128 | postcard)
        # Level 4 with comparisons: libFuzzer learns the constants that inputs are compared with.
        set -- "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
            -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 ;;
esac
exec "$@"
