# A server that ends in order: sh server.sh SECONDS
trap 'echo saved; exit 0' TERM
echo ready
while :; do sleep 0.2; done
