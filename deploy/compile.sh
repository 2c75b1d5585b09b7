#!/bin/sh
# Compiles the engine with mypyc into a folder of its own: `deploy/compile.sh [PYTHON [FOLDER]]`.
#
# Put first on PYTHONPATH, the folder takes the place of the packages engine and schemas; the sources stay as they are,
# and stay the default. It holds for the machine and the Python that it was made with.
set -eu

python=${1:-.venv/bin/python}
out=${2:-build/compiled}

say() { printf 'compile: %s\n' "$*" >&2; }

if ! "$python" -c 'import mypyc.build, setuptools' 2>/dev/null; then
    say "$python has no mypyc; install it first: $python -m pip install 'mypy[mypyc]'"
    exit 2
fi
compiler=$("$python" -c 'import os, sysconfig; print(os.environ.get("CC") or sysconfig.get_config_var("CC"))')
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
if ! command -v "${compiler%% *}" >/dev/null 2>&1; then
    say "the C compiler ${compiler%% *} is not there; install it first (Debian: apt-get install gcc)"
    exit 2
fi
if ! [ -e "$header" ]; then
    say "$header is not there; install Python's headers first (Debian: apt-get install python3-dev)"
    exit 2
fi

absolute() { printf '%s/%s' "$(cd "$(dirname "$1")" && pwd)" "$(basename "$1")"; }
case $python in */*) python=$(absolute "$python") ;; esac
mkdir -p "$(dirname "$out")"
out=$(absolute "$out")
part=$out.part
rm -rf "$part"
mkdir "$part"
trap 'rm -rf "$part"' EXIT
cp -R engine schemas "$part"
find "$part" -name __pycache__ -exec rm -rf {} +

cd "$part"
# mypyc makes no msgspec Structs: modules that define some stay as they are, and so do those of words and tables.
# shellcheck disable=SC2046  # names of modules have no spaces
set -- $(grep -L '(Struct' engine/*.py | grep -v __init__) schemas/money.py schemas/partitions.py schemas/times.py
say "$# modules; half a minute"
if ! "$python" -m mypyc --config-file= --strict "$@" >compile.log 2>&1; then
    grep -v -e '^gcc' -e '^copying' -e '^creating' compile.log >&2
    say "that did not work"
    exit 1
fi
rm -rf build compile.log .mypy_cache
cd /
rm -rf "$out"
mv "$part" "$out"
say "done; to use it: PYTHONPATH=$out"
