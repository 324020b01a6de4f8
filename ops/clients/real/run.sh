#!/bin/sh
# Installs the real clients into a throw-away directory and runs them, or those that are named: `run.sh [CLIENT..]`.
# Prints one line a client.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lab=$(mktemp -d)
trap 'rm -rf "$lab"' EXIT
trap 'exit 1' HUP INT TERM
sh "$here/install.sh" "$lab"
"${CARGO:-cargo}" run --locked --quiet --bin sdks -- "$lab" "$@"
