# Counts the mounts below /tmp in two namespaces: the second one is a slave.
# Usage: bash measure.sh FIRST SECOND, in a new mount namespace
set -e
mount -t tmpfs -o size=1m tmpfs /tmp
mount --make-shared /tmp
for i in $(seq "$1"); do mkdir "/tmp/first-$i"; done
for i in $(seq "$2"); do mkdir "/tmp/second-$i"; done
unshare --mount --propagation slave bash -c '
    for i in $(seq "$0"); do mount -t tmpfs -o size=1m tmpfs "/tmp/second-$i"; done
    touch /tmp/ready
    until [ -e /tmp/done ]; do sleep 0.1; done
    grep -c " /tmp/" /proc/self/mounts > /tmp/inner' "$2" &
until [ -e /tmp/ready ]; do sleep 0.1; done
for i in $(seq "$1"); do mount -t tmpfs -o size=1m tmpfs "/tmp/first-$i"; done
outer=$(grep -c " /tmp/" /proc/self/mounts)
touch /tmp/done
wait
echo "$outer $(cat /tmp/inner)"
