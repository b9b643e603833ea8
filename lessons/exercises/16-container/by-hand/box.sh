# A container without sandbox. It should run `sleep SECONDS` as process 1, with
# the hostname NAME, its own /proc and its own network. Options are missing.
# Usage: sh box.sh NAME SECONDS
exec unshare --user --map-root-user --pid --uts \
  sh -c 'hostname "$0"; exec sleep "$1"' "$1" "$2"
