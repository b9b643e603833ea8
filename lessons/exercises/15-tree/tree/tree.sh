# Should run `sleep SECONDS` in a child cgroup NAME with a memory limit.
# But sleep stays in the parent cgroup: the order of the lines is wrong.
# Usage: sandbox memory --limit 256MiB -- sh tree.sh NAME MIB SECONDS

# The directory of this shell's own cgroup, and the name of the limit
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
  limit=memory.max
else
  own=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
  limit=memory.limit_in_bytes
fi

mkdir "$own/$1"

# The limit of the child
echo "$(($2 * 1024 * 1024))" > "$own/$1/$limit"

# cgroup v2: enable the controller for the children of this cgroup
if [ "$limit" = memory.max ]; then
  echo +memory > "$own/cgroup.subtree_control"
fi

exec sleep "$3"

# Move this shell into the child
echo $$ > "$own/$1/cgroup.procs"
