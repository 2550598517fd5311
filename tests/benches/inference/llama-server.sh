#!/bin/sh
# llama-server.sh PLACE, an absolute path: builds the llama-server that the engine is measured against, once, and prints where it is.
#
# Its sources come with the Python package of that version, whole, and its hash is checked. It gets what llama-cpp-sys-2 gives our own
# llama.cpp: code for processors with AVX2 where nothing else is asked for, OpenMP, the same compiler.
set -eu

VERSION=0.3.36
SHA256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
NAME=llama_cpp_python-$VERSION

place=$1
program=$place/llama-server-$VERSION
if [ -x "$program" ]; then
    printf '%s\n' "$program"
    exit
fi
{
    echo 'Building llama-server, which the engine is measured against (about ten minutes, once).'
    rm -rf "$place/work" && mkdir -p "$place/work" && cd "$place/work"
    python3 -m venv venv
    venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
        "llama-cpp-python==$VERSION"
    echo "$SHA256  $NAME.tar.gz" | sha256sum --check --quiet
    tar -xzf "$NAME.tar.gz" "$NAME/vendor/llama.cpp"
    avx2=ON
    case $(uname -m) in x86_64) ;; *) avx2=OFF ;; esac
    cmake -S "$NAME/vendor/llama.cpp" -B build -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
        -DGGML_NATIVE=OFF -DGGML_OPENMP=ON -DGGML_AVX=$avx2 -DGGML_AVX2=$avx2 -DGGML_FMA=$avx2 -DGGML_F16C=$avx2 \
        -DGGML_BMI2=$avx2 -DGGML_CCACHE=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF \
        -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF
    cmake --build build --target llama-server --parallel "${CMAKE_BUILD_PARALLEL_LEVEL:-$(getconf _NPROCESSORS_ONLN)}"
    mv build/bin/llama-server "$program"
    cd "$place" && rm -rf work
} >&2
printf '%s\n' "$program"
