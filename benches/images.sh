# shellcheck shell=bash
# The fifth part of scripts/bench, which sources this file: images, compared with podman and buildah. The image has four
# layers with files of this machine, about 300 MiB, and is pulled from a registry on the loopback device. Each tool keeps
# its images in a directory of its own, which is removed.

# part NUMBER: the directory of one layer, with files of /usr up to 75 MiB.
part() {
    local directory=$built/image/part$1
    [ -d "$directory" ] && return
    mkdir -p "$directory"
    find /usr/bin /usr/lib /usr/share -xdev -type f -size -4096k -printf '%s %p\n' 2>/dev/null | LC_ALL=C sort -k2 |
        awk -v part="$1" '{ sum += $1; number = int(sum / (75 * 1048576)) } number == part { print $2 }' |
        tar --create --file - --files-from - 2>/dev/null | tar --extract --file - --directory "$directory" --no-same-owner
}
for number in 0 1 2 3; do part "$number"; done
printf 'FROM scratch\nCOPY part0 /0\nCOPY part1 /1\nCOPY part2 /2\nCOPY part3 /3\nCMD ["/bin/true"]\n' >"$built/image/Dockerfile"
mkdir -p "$built/tiny"
cp "$built/nothing" "$built/tiny/true"
printf 'FROM scratch\nCOPY true /bin/true\nCMD ["/bin/true"]\n' >"$built/tiny/Dockerfile"
# Ten steps of a build, and one with 20,000 small files.
mkdir -p "$built/steps/files" "$built/many"
cp "$(type -P busybox)" "$built/steps/busybox"
printf 'FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nCMD ["/bin/sh"]\n' >"$built/steps/Base"
for number in 1 2 3; do printf '%s\n' "$number" >"$built/steps/files/$number"; done
cat >"$built/steps/Dockerfile" <<'DOCKERFILE'
FROM bench-base
RUN /bin/busybox mkdir /work
COPY files/1 /work/1
RUN /bin/busybox cp /work/1 /work/one
COPY files/2 /work/2
RUN /bin/busybox cp /work/2 /work/two
ENV NAME=value
COPY files/3 /work/3
RUN /bin/busybox cp /work/3 /work/three
WORKDIR /work
CMD ["/bin/sh"]
DOCKERFILE
if [ ! -d "$built/many/files" ]; then
    mkdir "$built/many/files"
    for number in $(seq 200); do
        mkdir "$built/many/files/$number"
        for name in $(seq 100); do printf '%s' "$number.$name" >"$built/many/files/$number/$name"; done
    done
fi
printf 'FROM scratch\nCOPY files /files\n' >"$built/many/Dockerfile"

# quietly: see benches/container.sh.
# shellcheck disable=SC2016
quietly bash -c '
    set -eu
    sandbox=$1 built=$2 count=$3
    # On a disk: /tmp can be in memory.
    state=$(mktemp -d "$built/state.XXXXXX")
    export SANDBOX_HOME=$state/sandbox CONTAINERS_CONF=$state/containers.conf BUILDAH_ISOLATION=oci STATE=$state
    printf "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\ndefault_sysctls = []\n" >"$CONTAINERS_CONF"
    registry=
    trap '\''[ -z "$registry" ] || kill "$registry"; umount -R "$state"/*/overlay 2>/dev/null || true
        chmod -R u+rwx "$state"; rm -rf --one-file-system "$state"'\'' EXIT
    printf "version: 0.1\nlog: { level: error, accesslog: { disabled: true } }\nstorage:\n  filesystem: { rootdirectory: %s }\nhttp:\n  addr: 127.0.0.1:5055\n" \
        "$state/registry" >"$state/registry.yml"
    docker-registry serve "$state/registry.yml" >/dev/null 2>&1 & registry=$!
    "$sandbox" build -q -t 127.0.0.1:5055/bench "$built/image" >/dev/null
    "$sandbox" build -q -t tiny "$built/tiny" >/dev/null
    for _ in $(seq 100); do "$sandbox" push 127.0.0.1:5055/bench >/dev/null 2>&1 && break; sleep 0.1; done
    export SANDBOX=$sandbox
    # Each pull begins with an empty store. The rows count the start of a shell and mktemp(1) for both.
    "$built/runs" "$count" \
        == "podman pull" - /bin/sh -c "at=\$(mktemp -d \$STATE/podman.XXXX)
            exec podman --root \$at/storage --runroot \$at/run --tmpdir \$at/tmp pull -q --tls-verify=false 127.0.0.1:5055/bench >/dev/null" \
        == "sandbox pull" "podman pull" /bin/sh -c "at=\$(mktemp -d \$STATE/own.XXXX)
            SANDBOX_HOME=\$at exec \$SANDBOX pull -q 127.0.0.1:5055/bench >/dev/null"
    kill "$registry"; registry=
    umount -R "$state"/podman.*/storage/overlay 2>/dev/null || true
    rm -rf --one-file-system "$state"/podman.* "$state"/own.*

    printf "\nA container of an image, and of the same directory.\n" >&2
    printf "rootfs: %s\ncommand: [/bin/true]\n" "$built/tiny-root" >"$state/tiny.yaml"
    mkdir -p "$built"/tiny-root/{bin,proc,sys,dev,etc,run,tmp}; cp "$built/nothing" "$built/tiny-root/bin/true"
    "$built/runs" 50 \
        == "sandbox run --keep --rm DIRECTORY" - "$sandbox" run --keep --rm -q "$state/tiny.yaml" \
        == "sandbox run --rm IMAGE" "sandbox run --keep --rm DIRECTORY" "$sandbox" run --rm --network host tiny

    printf "\nBuilds. The base image is built before.\n" >&2
    buildah="$(command -v buildah) --root $state/buildah --runroot $state/buildah-run --storage-driver overlay"
    $buildah bud -q -t bench-base -f "$built/steps/Base" "$built/steps" >/dev/null
    "$sandbox" build -q -t bench-base -f "$built/steps/Base" "$built/steps" >/dev/null
    bud="$buildah bud --layers --network host --pull-never -q"
    "$built/runs" 5 \
        == "buildah, 10 steps" - $bud --no-cache "$built/steps" \
        == "sandbox build, 10 steps" "buildah, 10 steps" "$sandbox" build -q --no-cache --network host "$built/steps" \
        == "buildah, 10 steps, cached" - $bud "$built/steps" \
        == "sandbox build, 10 steps, cached" "buildah, 10 steps, cached" "$sandbox" build -q --network host "$built/steps" \
        == "buildah, 20000 files" - $bud --no-cache "$built/many" \
        == "sandbox build, 20000 files" "buildah, 20000 files" "$sandbox" build -q --no-cache "$built/many"

    for number in $(seq 1000); do
        printf "FROM tiny\nLABEL number=%d\n" "$number" | "$sandbox" build -q -t "many:$number" - >/dev/null
    done
    printf "\nBeside 1000 images.\n" >&2
    "$built/runs" 20 == "sandbox images" - "$sandbox" images
' - "$SANDBOX_BIN" "$built" 3 2>&1 | tee "$built/table"
judge "$built/table" "podman pull;buildah, 10 steps" \
    "sandbox pull;median;podman pull;0.60" \
    "sandbox run --rm IMAGE;median;sandbox run --keep --rm DIRECTORY;1.30" \
    "sandbox build, 10 steps;median;buildah, 10 steps;0.50" \
    "sandbox build, 10 steps, cached;median;buildah, 10 steps, cached;0.50" \
    "sandbox build, 20000 files;median;buildah, 20000 files;0.60"
