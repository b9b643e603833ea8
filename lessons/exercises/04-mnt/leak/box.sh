# Mounts a filesystem on /media, as that of a disk. Makes the mounts of this
# namespace shared, as they are on most hosts. Starts a sleep in it, and then
# the program.
# Usage: sandbox mnt -- sh box.sh SECONDS
if [ "$(readlink /proc/self/ns/mnt)" = "$(readlink /proc/$PPID/ns/mnt)" ]; then
    echo "box.sh needs a namespace of its own: sandbox mnt -- sh box.sh $1" >&2
    exit 1
fi
mount -t ramfs disk /media && mount --make-rshared / || exit 1
sleep {other} &
exec ./mounts "$1"
