# Usage: sh reaper.sh DIRECTORY  (standard input: a pipe held open by the owner of DIRECTORY)
# Waits until the owner is gone, ends every process that works inside DIRECTORY, and removes it.
trap '' HUP INT QUIT TERM
while read -r _; do :; done

root=$1
inside() {
    for p in /proc/[0-9]*; do
        case "$(readlink "$p/cwd" 2>/dev/null)" in "$root"/*"$1"*) printf '%s ' "${p#/proc/}" ;; esac
    done
}

[ -d "$root" ] || exit 0
# PostgreSQL first gets its immediate shutdown, so that it returns its shared memory to the system.
pids=$(inside -postgres/data)
[ -z "$pids" ] || kill -s QUIT $pids 2>/dev/null
n=0
while [ -n "$pids" ] && [ $n -lt 50 ]; do
    sleep 0.1
    n=$((n + 1))
    pids=$(inside -postgres/data)
done
pids=$(inside '')
[ -z "$pids" ] || kill -s KILL $pids 2>/dev/null
for disk in "$root"/*/data; do
    umount "$disk" 2>/dev/null
done
# A process on its way out may still create a file while we remove the directory.
n=0
until rm -rf "$root" 2>/dev/null || [ $n -ge 50 ]; do
    sleep 0.1
    n=$((n + 1))
done
