#!/bin/sh
# Rules of the tree that no lint can hold. Prints each breach; exits 1 if there is one.
set -eu
cd "$(dirname "$0")/.."
git rev-parse --git-dir >/dev/null

LONGEST=500 # lines; about 400 is the aim, past it a file is split by noun

breaches=$(
    git ls-files '*.rs' '*.sql' '*.sh' '*.js' '*.py' | while read -r file; do
        if [ -f "$file" ]; then
            lines=$(wc -l <"$file")
            if [ "$lines" -gt $LONGEST ]; then
                printf '%s: %s lines, more than %s: split it by noun\n' "$file" "$lines" $LONGEST
            fi
        fi
    done

    # Usage: search WHY PATTERN FILES..
    search() {
        why=$1 pattern=$2
        shift 2
        git grep -nE "$pattern" -- "$@" | sed "s|\$|  <- $why|"
    }
    search 'tests live in tests/ (those beside the code are not run)' '#\[cfg\(test\)\]|#\[(tokio::)?test[](]' \
        '*/src/*.rs'
    search 'a test that does not run' '#\[ignore' '*.rs'
    search 'bincode lives in one file, so that it can be left' '\bbincode::' \
        '*.rs' ':!shared/queue/src/frame/bincode_v1.rs'
    search 'Redis is spoken by shared/queue only' '(^|[^:[:alnum:]_])(::)?redis::' \
        '*/src/*.rs' ':!shared/queue/*' ':!shared/testkit/*' ':!ops/*'
    search 'SQLite is spoken by shared/store only' '\brusqlite::' '*/src/*.rs' ':!shared/store/*' ':!ops/bench/*'
    search 'PostgreSQL is spoken by shared/store only' '\b(tokio_postgres|deadpool_postgres)::' \
        '*/src/*.rs' ':!shared/store/*' ':!shared/testkit/*' ':!ops/*'
    search 'the domain knows no runtime, no clock and no I/O' \
        '\b(tokio|hyper|tracing)::|std::(fs|net|io|env|thread)\b|(SystemTime|Instant)::now|now_v7|new_v4' 'shared/domain/src/*.rs'
)
if [ -n "$breaches" ]; then
    printf '%s\n' "$breaches" >&2
    exit 1
fi
