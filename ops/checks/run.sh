#!/bin/sh
# Runs the checks of ops/checks: `run.sh [fast|full]`. What PyPI has to give is installed once, under target/; after
# that no network is needed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${CARGO_TARGET_DIR:-$here/../../target}/ops-checks
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv"
    # A download that breaks off half way is not tried again by pip itself.
    tried=0
    until "$venv/bin/pip" --quiet --disable-pip-version-check --retries 10 --timeout 60 install --requirement "$here/requirements.txt"; do
        tried=$((tried + 1))
        if [ $tried -ge 4 ]; then exit 1; fi
        sleep $((tried * 10))
    done
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi
PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" "$here" "$@"
