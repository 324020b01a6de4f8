#!/bin/sh
# Generated requests against `abctl up`: no answer that the API document does not have, none that is a 5xx.
# Usage: make schemathesis (installs it from PyPI into target/: network).
set -eu
cd "$(dirname "$0")/../.."
# As Cargo puts it; CARGO_TARGET_DIR moves it.
target=${CARGO_TARGET_DIR:-target}
VERSION=4.32.5
PORT=${PORT:-8890}
EXAMPLES=${EXAMPLES:-40}
KEY=schemathesis-schemathesis-1

python=$target/schemathesis/bin/python
if ! "$python" -c "import importlib.metadata as m; assert m.version('schemathesis') == '$VERSION'" 2>/dev/null; then
    python3 -m venv "$target/schemathesis"
    "$python" -m pip install --quiet --disable-pip-version-check "schemathesis==$VERSION"
fi

data=$(mktemp -d)
up=
end() {
    [ -z "$up" ] || kill "$up" 2>/dev/null || true
    [ -z "$up" ] || wait "$up" || true
    rm -rf "$data"
}
trap end EXIT
trap 'exit 1' HUP INT TERM
AB_ADMIN_TOKEN=$KEY AB_LOG_LEVEL=error "$target/debug/abctl" up --data "$data" --port "$PORT" \
    --internal-addr 127.0.0.1:0 >"$data/log" 2>&1 &
up=$!
for _ in $(seq 100); do
    curl -sf "http://127.0.0.1:$PORT/readyz" >/dev/null && break
    kill -0 $up || { cat "$data/log" >&2; exit 1; }
    sleep 0.1
done

# Of the name that the document gives as an example.
curl -sf "http://127.0.0.1:$PORT/api/v1/experiments" -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \
    -d '{"key": "checkout", "variations": [{"key": "a"}, {"key": "b"}], "metrics": [{"key": "purchase", "type": "mean"}]}' >/dev/null
curl -sf -X POST "http://127.0.0.1:$PORT/api/v1/experiments/checkout/start" -H "Authorization: Bearer $KEY" >/dev/null

# Not the stream, which does not end.
"$target/schemathesis/bin/schemathesis" run "http://127.0.0.1:$PORT/openapi.json" \
    --header "Authorization: Bearer $KEY" --exclude-operation-id followLiveStats \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --phases examples,coverage,fuzzing --max-examples "$EXAMPLES" --continue-on-failure \
    --generation-deterministic --no-color "$@"
