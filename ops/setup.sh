#!/bin/sh
# Installs what building and testing need and this machine lacks. Silent, quick and without network when all is
# there. Servers are installed for tests to start their own: none is left running or started at boot.
# Usage: sh ops/setup.sh [postgresql] [redis] [c] [python] [node] [chromium] [checks] [valgrind]; without a word, all but the last
# two, which are the tools of `make ops-check` and `make guard`. Building takes c only.
set -eu

OLDEST_POSTGRESQL=15
# Scripts with flags, CLUSTER ADDSLOTSRANGE, cluster-port.
OLDEST_REDIS=7.0
# What the clients in ops/clients run on.
OLDEST_PYTHON=3.8
OLDEST_NODE=18

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    say "$@"
    exit 1
}

has_cargo() { command -v cargo >/dev/null; }

# A compiler without the C library's headers does not help.
has_c() {
    command -v cc >/dev/null && printf '#include <stdio.h>\nint main(void) { return 0; }\n' |
        cc -x c -o /dev/null - 2>/dev/null
}

# The same places, in the same order, as shared/testkit/src/postgres.rs.
has_postgresql() {
    for dir in "${AB_TEST_PG_BIN:-}" "$(dirname "$(command -v postgres || echo /nowhere/postgres)")" \
        /usr/lib/postgresql/*/bin; do
        if [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ]; then
            major=$("$dir/postgres" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
            if [ "${major:-0}" -ge $OLDEST_POSTGRESQL ]; then return 0; fi
        fi
    done
    return 1
}

has_redis() {
    command -v redis-server >/dev/null || return 1
    version=$(redis-server --version | sed 's/.* v=\([0-9.]*\).*/\1/')
    [ "$(printf '%s\n%s\n' $OLDEST_REDIS "$version" | sort -V | head -n 1)" = $OLDEST_REDIS ]
}

has_python() {
    command -v python3 >/dev/null &&
        python3 -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$OLDEST_PYTHON'.split('.'))))"
}

has_node() {
    command -v node >/dev/null || return 1
    major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
    [ "${major:-0}" -ge $OLDEST_NODE ]
}

# Programs that check what operates abstream; a real Prometheus, nginx and Caddy among them.
has_checks() {
    for program in kubectl promtool prometheus prometheus-node-exporter nginx caddy; do
        command -v $program >/dev/null || return 1
    done
    has_python && python3 -c 'import ensurepip, venv' 2>/dev/null
}

# With the driver that tests speak to.
has_chromium() { command -v chromium >/dev/null && command -v chromedriver >/dev/null; }

has_valgrind() { command -v valgrind >/dev/null; }

missing() {
    for what in $wanted; do
        "has_$what" || printf ' %s' "$what"
    done
}

by_hand() {
    say "please install yourself:"
    for what in $1; do
        case $what in
        postgresql) say "  PostgreSQL $OLDEST_POSTGRESQL or newer, the server (Fedora: dnf install postgresql-server; Arch: pacman -S postgresql), or name its programs' directory in AB_TEST_PG_BIN" ;;
        redis) say "  Redis $OLDEST_REDIS or newer, redis-server on PATH (Fedora: dnf install redis; Arch: pacman -S redis)" ;;
        python) say "  Python $OLDEST_PYTHON or newer, as python3 on PATH" ;;
        chromium) say "  Chromium and its driver, as chromium and chromedriver on PATH (Fedora: dnf install chromium chromedriver; Arch: pacman -S chromium)" ;;
        node) say "  Node.js $OLDEST_NODE or newer, as node on PATH (Fedora: dnf install nodejs; Arch: pacman -S nodejs)" ;;
        checks) say "  kubectl, Prometheus with promtool, its node exporter (prometheus-node-exporter), nginx, Caddy, and Python with venv, all on PATH" ;;
        valgrind) say "  valgrind on PATH (Fedora: dnf install valgrind; Arch: pacman -S valgrind)" ;;
        c) say "  a C compiler with headers, as cc on PATH (Fedora: dnf install gcc glibc-devel; Arch: pacman -S gcc)" ;;
        esac
    done
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Another apt may be at work, and a mirror slow.
apt() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=5 -o Acquire::http::Timeout=60 "$@" >&2
}

# A mirror that is just being renewed has lists without their packages for a while.
patiently() {
    for pause in 5 20 60; do
        if "$@"; then return; fi
        say "again in $pause s: $*"
        sleep $pause
    done
    "$@"
}

# Without a word apt goes on without the lists that it did not get. One of somebody else's may be gone for good.
every_list() { apt -o APT::Update::Error-Mode=any update; }
update() { patiently every_list || apt update; }

install_once() {
    if apt -y --no-install-recommends install "$@"; then return; fi
    every_list || true
    return 1
}
apt_install() { patiently install_once "$@"; }

# Debian starts a server when its package is installed, unless this file says no.
POLICY=/usr/sbin/policy-rc.d
hold_services() {
    if [ ! -e $POLICY ]; then
        trap 'as_root rm -f $POLICY' EXIT
        trap 'exit 1' HUP INT TERM
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$POLICY && chmod 755 $POLICY"
    fi
}

not_at_boot() {
    if [ -e "/etc/init.d/$1" ]; then as_root update-rc.d "$1" disable >&2; fi
    # Some have a unit only; update-rc.d does not know them.
    if command -v systemctl >/dev/null; then as_root systemctl disable "$1" >&2; fi
}

install_postgresql() {
    newest=$(apt-cache pkgnames postgresql- | sed -n 's/^postgresql-\([0-9]*\)$/\1/p' | sort -n | tail -n 1)
    if [ "${newest:-0}" -lt $OLDEST_POSTGRESQL ]; then
        say "this release's newest PostgreSQL is ${newest:-none}; Debian 12 and Ubuntu 24.04 have a newer one"
        by_hand postgresql
    fi
    fresh=no
    [ -e /etc/postgresql-common ] || fresh=yes
    apt_install postgresql-common
    if [ $fresh = yes ]; then
        # No cluster of the system's own beside those of the tests.
        as_root sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    fi
    apt_install "postgresql-$newest" openssl
    if [ $fresh = yes ]; then not_at_boot postgresql; fi
}

install_redis() {
    fresh=no
    command -v redis-server >/dev/null || fresh=yes
    apt_install redis-server
    if [ $fresh = yes ]; then not_at_boot redis-server; fi
}

install_checks() {
    for pair in kubectl:kubernetes-client prometheus:prometheus prometheus-node-exporter:prometheus-node-exporter \
        nginx:nginx-light caddy:caddy python3:python3-venv; do
        program=${pair%%:*} package=${pair#*:}
        if command -v "$program" >/dev/null && [ "$program" != python3 ]; then continue; fi
        apt_install "$package"
        case $package in prometheus* | nginx-light | caddy) not_at_boot "$program" ;; esac
    done
}

wanted=${*:-postgresql redis c python node chromium}
for what in $wanted; do
    case $what in
    postgresql | redis | c | python | node | chromium | checks | valgrind) ;;
    *) fail "$what is none of: postgresql redis c python node chromium checks valgrind" ;;
    esac
done
has_cargo || fail "cargo not found: install Rust as https://rustup.rs says, then try again"
lacking=$(missing)
[ -n "$lacking" ] || exit 0
command -v apt-get >/dev/null || by_hand "$lacking"
[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || fail "run me as root, or install sudo: missing$lacking"

say "installing:$lacking"
update
hold_services
for what in $lacking; do
    case $what in
    postgresql) install_postgresql ;;
    redis) install_redis ;;
    c) apt_install gcc libc6-dev ;;
    python) apt_install python3 ;;
    node) apt_install nodejs ;;
    chromium) apt_install chromium chromium-driver fonts-dejavu-core ;;
    checks) install_checks ;;
    valgrind) apt_install valgrind ;;
    esac
done
lacking=$(missing)
[ -z "$lacking" ] || by_hand "$lacking"
say "done"
