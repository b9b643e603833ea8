# Counts the mounts that a process after chroot can see.
# Usage: bash measure.sh INNER OUTER, in a new mount namespace
set -e
mount -t tmpfs -o size=1m tmpfs /tmp
mkdir -p /tmp/root/usr
for name in bin lib lib64; do ln -s "usr/$name" "/tmp/root/$name"; done
mount --bind /usr /tmp/root/usr
for i in $(seq "$1"); do
    mkdir "/tmp/root/inner-$i"
    mount -t tmpfs -o size=1m tmpfs "/tmp/root/inner-$i"
done
for i in $(seq "$2"); do
    mkdir "/tmp/outer-$i"
    mount -t tmpfs -o size=1m tmpfs "/tmp/outer-$i"
done
chroot /tmp/root sleep 100 &
until [ "$(readlink /proc/$!/root)" = /tmp/root ]; do sleep 0.1; done
grep -c . /proc/$!/mounts
kill $!
