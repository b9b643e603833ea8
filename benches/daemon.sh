# shellcheck shell=bash
# The sixth part of scripts/bench, which sources this file: Docker's API, as curl(1) sees it, compared with podman's service.
# Both have the same image and 200 containers that were only created, in directories of their own, which are removed.

# quietly: see benches/container.sh. $built/tiny is made by benches/images.sh.
# shellcheck disable=SC2016
quietly bash -c '
    set -eu
    sandbox=$1 built=$2 rounds=$3 count=$4
    state=$(mktemp -d "$built/state.XXXXXX")
    export SANDBOX_HOME=$state/sandbox CONTAINERS_CONF=$state/containers.conf
    printf "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\ndefault_sysctls = []\n" >"$CONTAINERS_CONF"
    podman="$(command -v podman) --root $state/storage --runroot $state/run --tmpdir $state/tmp --cgroup-manager cgroupfs --events-backend file"
    daemons=()
    trap '\''kill "${daemons[@]}" 2>/dev/null || true; wait; "$sandbox" ps -aq | xargs -r "$sandbox" rm -f >/dev/null
        umount -R "$state"/storage/overlay 2>/dev/null || true; rm -rf --one-file-system "$state"'\'' EXIT
    "$sandbox" build -q -t tiny "$built/tiny" >/dev/null
    "$sandbox" save tiny | $podman load -q >/dev/null
    "$sandbox" daemon run --host "unix://$state/own.sock" >/dev/null 2>&1 & daemons+=($!)
    $podman system service -t 0 "unix://$state/podman.sock" >/dev/null 2>&1 & daemons+=($!)
    ask() { curl -sS --fail --unix-socket "$state/$1.sock" "${@:3}" "http://d/v1.41/$2"; }
    for name in own podman; do
        for _ in $(seq 200); do ask $name _ping >/dev/null 2>&1 && break; sleep 0.05; done
    done
    make="{\"Image\": \"tiny\", \"Cmd\": [\"/bin/true\"], \"HostConfig\": {\"NetworkMode\": \"host\"}}"
    for number in $(seq "$count"); do
        for name in own podman; do
            ask $name "containers/create?name=bench-$number" -H "Content-Type: application/json" -d "$make" >/dev/null
        done
    done
    cat >"$state/whole" <<\WHOLE
set -e
ask() { curl -sS --fail --unix-socket "$1" -X "$2" "http://d/v1.41/$3" "${@:4}"; }
id=$(ask "$1" POST containers/create -H "Content-Type: application/json" -d "$2" | grep -o "[0-9a-f]\{64\}" | head -n 1)
ask "$1" POST "containers/$id/start"
ask "$1" POST "containers/$id/wait" >/dev/null
ask "$1" DELETE "containers/$id"
WHOLE
    curl="$(command -v curl) -sS --fail -o /dev/null --unix-socket"
    "$built/runs" "$rounds" \
        == "podman, list" - $curl "$state/podman.sock" "http://d/v1.41/containers/json?all=1" \
        == "sandbox, list" "podman, list" $curl "$state/own.sock" "http://d/v1.41/containers/json?all=1" \
        == "podman, inspect" - $curl "$state/podman.sock" http://d/v1.41/containers/bench-1/json \
        == "sandbox, inspect" "podman, inspect" $curl "$state/own.sock" http://d/v1.41/containers/bench-1/json \
        == "podman, create to remove" - "$(command -v bash)" "$state/whole" "$state/podman.sock" "$make" \
        == "sandbox, create to remove" "podman, create to remove" "$(command -v bash)" "$state/whole" "$state/own.sock" "$make"
    private() { awk "/^Private/ { sum += \$2 } END { print sum }" "/proc/$1/smaps_rollup"; }
    printf "\nPrivate memory of the daemon: sandbox %d KiB, podman %d KiB\n" "$(private "${daemons[0]}")" "$(private "${daemons[1]}")" >&2
' - "$SANDBOX_BIN" "$built" 20 200 2>&1 | tee "$built/table"
judge "$built/table" "podman, list" \
    "sandbox, list;median;podman, list;0.30" \
    "sandbox, inspect;median;podman, inspect;0.30" \
    "sandbox, create to remove;median;podman, create to remove;0.30"
