exec unshare --user --map-root-user --pid --fork --mount-proc --uts --net \
  sh -c 'hostname "$0"; exec sleep "$1"' "$1" "$2"
