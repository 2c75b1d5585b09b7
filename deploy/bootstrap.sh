#!/bin/sh
# Makes the virtual environment named by the first argument and installs the project with its tools into it.
# Needs Python 3.11 or newer; where Debian's python3-venv is missing it is installed if we may, or asked for.
set -eu

venv=$1
python=${PYTHON:-python3}

say() { printf 'setup: %s\n' "$*" >&2; }

if ! command -v "$python" >/dev/null 2>&1; then
    say "$python is not there; install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
    exit 2
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "$python is $("$python" -V 2>&1); tollgate needs 3.11 or newer: make PYTHON=python3.11 …"
    exit 2
fi
if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing Debian's python3-venv"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    else
        say "Python's venv is not there; install it first (Debian: apt-get install python3-venv)"
        exit 2
    fi
fi

say "installing into $venv (once)"
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
