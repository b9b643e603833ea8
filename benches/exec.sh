# shellcheck shell=bash
# The third part of scripts/bench, which sources this file: a further process in a container that runs, compared with
# crun exec, and with nsenter(1) and setpriv(1), which do the same by hand. The containers are those of the second part,
# with this machine's /usr, because setpriv needs its libraries inside.

exec_root=$built/exec-root
mkdir -p "$exec_root"/{bin,proc,sys,dev,usr}
cp "$built/nothing" "$exec_root/bin/true"
ln -sfn usr/lib "$exec_root/lib"
ln -sfn usr/lib64 "$exec_root/lib64"
sed "s|^rootfs: .*|rootfs: $exec_root|; s|^mnt:|name: bench-exec\nmnt: { mounts: [{ type: bind, source: /usr, target: /usr, readonly: true }] }|; s|^command: .*|command: [/usr/bin/sleep, '3600']|" \
    "$full" >"$built/exec.yaml"
bundle exec
usr='{ "destination": "/usr", "type": "bind", "source": "/usr", "options": ["bind", "ro"] },'
sed -i "s|\"args\": .*|\"args\": [\"/usr/bin/sleep\", \"3600\"],|; s|\"mounts\": \[|&\n    $usr|; s|$root\"|$exec_root\"|" \
    "$built/bundles/exec/config.json"
kept=$(sed -n '/DEFAULT: \[Capability/,/^];/p' src/security/capabilities.rs | grep -o 'CAP_[A-Z_]*' |
    sed 's/CAP_/+/' | tr '[:upper:]' '[:lower:]' | paste -sd,)

# Both containers run in the mount table of `quietly`, where their state is. They end with this shell.
# shellcheck disable=SC2016
quietly bash -c '
    set -eu
    sandbox=$1 spec=$2 bundle=$3 kept=$4 runs=$5 rounds=$6
    pids=()
    trap '\''kill "${pids[@]}" 2>/dev/null || true; crun delete -f bench-exec 2>/dev/null || true; wait'\'' EXIT
    "$sandbox" run -q "$spec" </dev/null >/dev/null & pids+=($!)
    crun run --bundle "$bundle" bench-exec </dev/null >/dev/null & pids+=($!)
    inside=
    for _ in $(seq 500); do
        inside=$(cat "/proc/${pids[0]}/task/${pids[0]}/children")
        inside=${inside%% *}
        [ -n "$inside" ] && [ "$(cat "/proc/$inside/comm")" = sleep ] && crun exec bench-exec /bin/true 2>/dev/null && break
        sleep 0.02
    done
    "$runs" "$rounds" \
        == "nsenter, setpriv" - /usr/bin/nsenter -t "$inside" -m -u -i -n -p -C /usr/bin/setpriv --bounding-set "-all,$kept" \
            --inh-caps=-all --no-new-privs --clear-groups /bin/true \
        == "sandbox exec" "nsenter, setpriv" "$sandbox" exec -q bench-exec /bin/true \
        == "crun exec" "nsenter, setpriv" "$(command -v crun)" exec bench-exec /bin/true
' - "$SANDBOX_BIN" "$built/exec.yaml" "$built/bundles/exec" "$kept" "$built/runs" "$rounds" | tee "$built/table"
judge "$built/table" "nsenter, setpriv" \
    "sandbox exec;median;crun exec;0.80" \
    "sandbox exec;median;nsenter, setpriv;1.00"
