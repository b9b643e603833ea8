# Should connect a network namespace to a bridge. Two commands are missing.
# Usage: sandbox net -- sh bridge.sh SECONDS
ip link add br0 type bridge
ip address add 10.0.0.1/24 dev br0
ip link set br0 up

# The namespace that plays the container, with one end of a veth pair.
unshare --net sleep "$1" &
sleep 1
in="nsenter -t $! -n"
ip link add veth0 type veth peer name eth0 netns $!
ip link set veth0 up
$in ip address add 10.0.0.2/24 dev eth0
$in ip link set eth0 up
wait
