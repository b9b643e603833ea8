# shellcheck shell=bash
# The fourth part of scripts/bench, which sources this file: containers that stay, compared with podman, with the same root
# directory and the network of the host. Each tool keeps its containers in a directory of its own, which is removed.

kept_root=$built/kept-root
mkdir -p "$kept_root"/{bin,proc,sys,dev,etc,run,tmp}
cp "$built/nothing" "$kept_root/bin/true"
cp "$(type -P busybox)" "$kept_root/bin/sh"
printf 'rootfs: %s\npid:\nmnt:\nuts:\nipc:\ncommand: [/bin/true]\n' "$kept_root" >"$built/kept.yaml"
sed 's|^command: .*|command: [/bin/sh, -c, "exec /bin/sh -c \x27while :; do sleep 600; done\x27"]|' "$built/kept.yaml" >"$built/sleeper.yaml"
sed 's|^command: .*|command: [/bin/sh, -c, "dd if=/dev/zero bs=65536 count=4096 2>/dev/null \| tr \x27\\\\0\x27 x"]|' \
    "$built/kept.yaml" >"$built/printer.yaml"

# quietly: see benches/container.sh. The first rows start a container, with a new name each time; it removes itself.
# shellcheck disable=SC2016
quietly bash -c '
    set -eu
    sandbox=$1 built=$2 rounds=$3 root=$4 count=$5
    state=$(mktemp -d /tmp/sandbox-bench.XXXXXX)
    export SANDBOX_HOME=$state/sandbox CONTAINERS_CONF=$state/containers.conf
    # The default of podman is more than some machines allow.
    printf "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\ndefault_sysctls = []\n" >"$CONTAINERS_CONF"
    podman="$(command -v podman) --root $state/storage --runroot $state/run --tmpdir $state/tmp --cgroup-manager cgroupfs --events-backend file"
    trap '\''"$sandbox" ps -aq | xargs -r "$sandbox" rm -f >/dev/null; $podman rm -fa >/dev/null 2>&1 || true
        umount -R "$state"/storage/overlay 2>/dev/null || true; rm -rf --one-file-system "$state"'\'' EXIT
    flags="--network host --rootfs"
    "$sandbox" run -d --name bench "$built/sleeper.yaml" >/dev/null
    $podman run -d --name bench $flags "$root" /bin/sh -c "while :; do sleep 600; done" >/dev/null
    "$built/runs" "$rounds" \
        == "podman run -d" - $podman run -d --rm $flags "$root" /bin/true \
        == "sandbox run -d" "podman run -d" "$sandbox" run -d --rm "$built/kept.yaml" \
        == "podman exec" - $podman exec bench /bin/true \
        == "sandbox exec" "podman exec" "$sandbox" exec -q bench /bin/true \
        == "sandbox inspect" - "$sandbox" inspect bench \
        == "sandbox ps -a" - "$sandbox" ps -a
    for number in $(seq "$count"); do
        "$sandbox" run -d --name "bench-$number" "$built/sleeper.yaml" >/dev/null
        $podman create --name "bench-$number" $flags "$root" /bin/true >/dev/null
    done
    printf "\nThe same beside %d containers (those of sandbox run, those of podman are only created).\n" "$count" >&2
    "$built/runs" "$rounds" \
        == "podman ps -a, with many" - $podman ps -a \
        == "sandbox ps -a, with many" "podman ps -a, with many" "$sandbox" ps -a \
        == "sandbox inspect, with many" - "$sandbox" inspect bench \
        == "sandbox exec, with many" - "$sandbox" exec -q bench /bin/true
    private() { awk "/^Private/ { sum += \$2 } END { print sum }" "/proc/$1/smaps_rollup"; }
    supervisor=$("$sandbox" inspect -f "{{.Sandbox.Supervisor.pid}}" bench)
    conmon=$($podman inspect -f "{{.ConmonPidFile}}" bench)
    printf "\nPrivate memory for each container: sandbox %d KiB, conmon %d KiB\n" \
        "$(private "$supervisor")" "$(private "$(cat "$conmon")")" >&2
    seconds() { local start=$EPOCHREALTIME; "$@" >/dev/null; awk "BEGIN { print $EPOCHREALTIME - $start }"; }
    printf "256 MiB through the log: sandbox %.2f s, podman (k8s-file) %.2f s\n" \
        "$(seconds "$sandbox" run --keep "$built/printer.yaml")" \
        "$(seconds $podman run --log-driver k8s-file $flags "$root" /bin/sh -c "dd if=/dev/zero bs=65536 count=4096 2>/dev/null | tr '\''\\0'\'' x")" >&2
' - "$SANDBOX_BIN" "$built" 20 "$kept_root" 200 | tee "$built/table"
judge "$built/table" "podman run -d;podman exec" \
    "sandbox run -d;median;podman run -d;0.10" \
    "sandbox exec;median;podman exec;0.10" \
    "sandbox ps -a, with many;median;podman ps -a, with many;0.50"
