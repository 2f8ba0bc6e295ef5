#!/bin/sh
# Say in one line what to install if "$1" cannot make the course's environment; say nothing if it can.
python=${1:-python3}
advice="Debian/Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.12; or set PYTHON=/path/to/python"

refuse() {
    echo "etlab needs Python 3.11 or newer with venv: $1. $advice" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 || refuse "there is no '$python'"
version=$("$python" -c 'import sys; print("%d.%d" % tuple(sys.version_info[:2]))' 2>/dev/null) || refuse "'$python' does not run"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || refuse "'$python' is Python $version"
# Debian's python3 has the module venv but not ensurepip, without which it makes environments that hold no pip.
"$python" -c 'import venv, ensurepip' 2>/dev/null || refuse "'$python' has no module venv or ensurepip"
