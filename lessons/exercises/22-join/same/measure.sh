# Starts two containers, of which the second one joins namespaces of the first one, and counts those that both have.
# Usage: bash measure.sh net, ipc, ...
name=same-$$
printf "name: $name\npid:\nnet:\nipc:\nuts:\nuser: {map: root}\n" > same.yaml
exec 3< <(exec sandbox run -q same.yaml -- sh -c 'echo started; exec sleep 30' 2> /dev/null)
container=$!
read -r started <&3
join="--userns container:$name"
for kind in $(echo "$*" | grep -oE 'net|ipc|uts'); do
    join="$join --${kind/net/network} container:$name"
done
first=$(pgrep -P $container)
echo 'mnt:' | sandbox run -q $join - -- readlink /proc/self/ns/{pid,mnt,net,uts,ipc,user,cgroup,time} |
    grep -cxF "$(readlink /proc/$first/ns/{pid,mnt,net,uts,ipc,user,cgroup,time})"
kill -KILL $container
