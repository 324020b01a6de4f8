#!/bin/sh
# Installs the real clients into a directory of their own: `install.sh DIRECTORY`. Needs the network, python3 with
# venv, and npm. Prints nothing when all goes well.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lab=$1

OLDEST_NODE=20

fail() {
    printf 'sdks: %s\n' "$*" >&2
    exit 1
}

command -v python3 >/dev/null || fail "python3 not found (Debian: apt-get install python3-venv)"
command -v npm >/dev/null || fail "npm not found (Debian: apt-get install npm)"

python3 -m venv "$lab/python" || fail "python3 has no venv (Debian: apt-get install python3-venv)"
"$lab/python/bin/pip" --quiet --disable-pip-version-check install --requirement "$here/requirements.txt"

mkdir -p "$lab/node"
cp "$here/package.json" "$lab/node/"
npm --prefix "$lab/node" install --silent --no-audit --no-fund --ignore-scripts --no-package-lock >/dev/null
# A machine's own node may be too old for them; the package `node` brings one.
node=$(command -v node || echo)
major=$([ -n "$node" ] && "$node" --version | sed 's/^v\([0-9]*\).*/\1/' || echo 0)
if [ "$major" -lt $OLDEST_NODE ]; then
    npm --prefix "$lab/node" install --silent --no-audit --no-fund --no-package-lock --no-save node@22 >/dev/null
    node=$lab/node/node_modules/node/bin/node
fi
ln -s "$node" "$lab/node/node"
