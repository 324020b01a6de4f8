#!/bin/sh
# Each of our packages with no feature, with each of its features alone, and all of them with all: lints as errors.
# Usage: make features
set -eu
cd "$(dirname "$0")/../.."
lint() {
    printf 'features: %s\n' "$*"
    ${CARGO:-cargo} clippy --quiet --locked "$@" -- --deny warnings
}

for manifest in $(git ls-files 'shared/*/Cargo.toml' 'analyzer/Cargo.toml' 'ingest-*/Cargo.toml' 'ops/abctl/Cargo.toml'); do
    package=$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1)
    lint --package "$package" --no-default-features
    # The names before `=` in [features].
    for feature in $(sed -n '/^\[features\]/,/^\[/s/^\([a-z0-9-]*\) = .*/\1/p' "$manifest"); do
        [ "$feature" = default ] || lint --package "$package" --no-default-features --features "$feature"
    done
done
lint --workspace --all-features
