# Makes a child cgroup with its own pids.max, moves into it, and counts how
# many processes it can have. Usage: sh count.sh MAX
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
else
  own=/sys/fs/cgroup/pids$(sed -n 's/^[0-9]*:pids://p' /proc/self/cgroup)
fi
mkdir "$own/child"
echo $$ > "$own/child/cgroup.procs"
if [ -e "$own/cgroup.subtree_control" ]; then
  echo +pids > "$own/cgroup.subtree_control"
fi
echo "$1" > "$own/child/pids.max"
count=1
echo $count
while true; do
  sleep 5 &
  count=$((count + 1))
  echo $count
done
