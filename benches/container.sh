# shellcheck shell=bash
# The second part of scripts/bench, which sources this file: a whole container, from its start to the end of its
# command.
#
# All tools make the same container: namespaces, a root by pivot_root with /proc, /sys, /dev, masked and read-only
# paths, limits of memory, cpu and pids, docker's capabilities, the same allowed system calls, no_new_privs,
# RLIMIT_NOFILE. Only sandbox compares at the end what the kernel shows with what was requested.

root=$built/root
mkdir -p "$root"/{bin,proc,sys,dev}
cp "$built/nothing" "$root/bin/true"

# A spec without cgroups and hardening, equal to the options of bwrap, and a spec with all of it.
plain=$built/plain.yaml full=$built/full.yaml
cat >"$plain" <<SPEC
rootfs: $root
pid:
mnt:
net:
uts: { hostname: box }
ipc:
user: { map: root }
cgroup:
command: [/bin/true]
SPEC
grep -v ^user "$plain" >"$full"
cat >>"$full" <<SPEC
memory: { limit: 64MiB }
cpu: { cpus: 0.5 }
pids: { max: 64 }
capabilities: default
seccomp: default
no_new_privileges: true
rlimits: { nofile: 1024 }
SPEC

# crun and runc leave the parent directory of the container's cgroup in every hierarchy. If another run uses it, it
# stays.
trap 'rmdir /sys/fs/cgroup/*/sandbox /sys/fs/cgroup/sandbox 2>/dev/null || true' EXIT

listed() {
    sed 's/.*/"&"/' | paste -sd,
}

# bundle NAME: the same for crun and runc. The allowed system calls are read from the lists that sandbox is built with.
bundle() {
    local capabilities calls
    capabilities=$(sed -n '/DEFAULT: \[Capability/,/^];/p' src/security/capabilities.rs | grep -o 'CAP_[A-Z_]*' | listed)
    calls=$({
        sed -n '/const ALLOWED/,/^];/{/^ *"/p}' src/security/seccomp/calls.rs | grep -o '[a-z0-9_]\+'
        printf '%s\n' clone ioctl personality socket chroot
    } | listed)
    mkdir -p "$built/bundles/$1"
    sed "s|@ROOT@|$root|; s|@NAME@|$1|; s|@CAPABILITIES@|$capabilities|; s|@CALLS@|$calls|" \
        benches/config.json >"$built/bundles/$1/config.json"
}

# crun 1.8 refuses to start if both cgroup v1 and v2 are mounted. So the v2 mount, which has none of these controllers,
# is hidden. crun, runc and sandbox write their state to /run. It is a tmpfs here, as on any machine that systemd
# boots: otherwise the disk would be measured. Both are in a private mount table, for all tools alike.
quietly() {
    [ "$(id -u)" -eq 0 ] || { "$@"; return; }
    # shellcheck disable=SC2016
    unshare --mount sh -c '
        [ ! -d /sys/fs/cgroup/unified ] || mount -t tmpfs none /sys/fs/cgroup/unified
        [ "$(stat -fc %T /run)" = tmpfs ] || mount -t tmpfs -o mode=755 none /run
        exec "$@"' - "$@"
}

rows=(== "sandbox, no limits" - "$SANDBOX_BIN" run -q "$plain")
if has bwrap; then
    rows+=(== "bwrap --unshare-all" - "$(command -v bwrap)" --unshare-all --bind "$root" / --proc /proc --dev /dev
        --hostname box /bin/true)
else
    printf '\nbwrap is not installed: its rows are left out.\n'
fi
if [ "$(id -u)" -eq 0 ]; then
    # The seccomp filter as sandbox prints it in its plan: one number for each instruction.
    "$SANDBOX_BIN" run "$full" --dry-run --format json | tr -d ' \n' | grep -o '"filter":{"program":\[[0-9,]*' |
        grep -o '[0-9][0-9,]*$' | sed 's/,/u,\n/g; s/$/u/' >"$built/filter.h"
    $floor_cc -O2 -Wall -Wextra -static -no-pie -I "$built" -o "$built/container" benches/container.c
    rows+=(== "floor, no limits" - "$built/container" plain "$root" /bin/true
        == "floor container" - "$built/container" full "$root" /bin/true
        == "sandbox run" "floor container" "$SANDBOX_BIN" run -q "$full")
    # Built as scripts/release builds. The output ends with the path of the binary, in JSON.
    check=$(RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" \
        cargo bench --locked --no-run --bench check --target "$(scripts/release --target)" --message-format json |
        grep -o '"executable":"[^"]*/check-[^"]*"' | cut -d '"' -f 4)
    rows+=(== "the library, with its check" - "$check" with "$full" == "the library, without" - "$check" without "$full")
    for tool in crun runc; do
        if has $tool; then
            bundle $tool
            rows+=(== "$tool run" "floor container" "$(command -v $tool)" run --bundle "$built/bundles/$tool" "bench-$tool")
        else
            printf '\n%s is not installed: its rows are left out.\n' "$tool"
        fi
    done
else
    printf '\nLimits, crun and runc want root here: their rows are left out.\n'
fi

printf '\nA whole container. The command does nothing; the KiB are the most that any one process had.\n'
quietly "$built/runs" "$rounds" "${rows[@]}" | tee "$built/table"
noise="floor, no limits;floor container"
[ "$(id -u)" -eq 0 ] || noise="sandbox, no limits"
judge "$built/table" "$noise" \
    "sandbox run;median;crun run;0.30" \
    "sandbox, no limits;median;bwrap --unshare-all;1.00" \
    "sandbox run;KiB;crun run;1.20"
awk '{ label = substr($0, 1, 33); sub(/ +$/, "", label); split(substr($0, 34), field, " "); least[label] = field[2]; median[label] = field[3] }
    END {
        with = "the library, with its check"; without = "the library, without"
        if (with in median) printf "    of which the check before exec: %.2f ms   (minima: %.2f ms)\n",
            median[with] - median[without], least[with] - least[without]
    }' "$built/table"

# storm COMMAND...: 100 starts, 8 at a time; {} is the number of each start. Prints the milliseconds.
storm() {
    local before
    before=$(date +%s%N)
    seq 100 | quietly xargs -P 8 -I '{}' "$@"
    echo $((($(date +%s%N) - before) / 1000000))
}

median() {
    sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'
}

if [ "$(id -u)" -eq 0 ] && has crun; then
    for number in $(seq 100); do bundle "$number"; done
    : >"$built/storm.sandbox" >"$built/storm.crun"
    for _ in 1 2 3 4 5 6 7; do
        storm "$SANDBOX_BIN" run -q "$full" >>"$built/storm.sandbox"
        storm crun run --bundle "$built/bundles/{}" 'bench-{}' >>"$built/storm.crun"
    done
    own=$(median <"$built/storm.sandbox") other=$(median <"$built/storm.crun")
    printf '\n100 starts, 8 at a time (median of 7 turns each): sandbox %d ms, crun %d ms.\n' "$own" "$other"
    awk -v own="$own" -v other="$other" 'BEGIN {
        ratio = other / own
        printf "%s  sandbox run, 8 at a time / crun run, starts a second = %.2f, at least 1.80\n", (ratio >= 1.8 ? "pass " : "FAIL "), ratio
    }' >"$built/judged"
    sed 's/^/    /' "$built/judged"
    cat "$built/judged" >>"$verdicts"
fi
