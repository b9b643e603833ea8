if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
  limit=memory.max
else
  own=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
  limit=memory.limit_in_bytes
fi

mkdir "$own/$1"

# First leave the parent: in cgroup v2, a cgroup that enables the memory
# controller for its children may have no processes.
echo $$ > "$own/$1/cgroup.procs"

if [ "$limit" = memory.max ]; then
  echo +memory > "$own/cgroup.subtree_control"
fi

# Only now has the child the files of the controller.
echo "$(($2 * 1024 * 1024))" > "$own/$1/$limit"

exec sleep "$3"
