# Stops a container whose handler works for some seconds, and prints its exit status.
# Usage: bash measure.sh WORK TIMEOUT OWN
printf 'pid:\nuser: {map: root}\n' > box.yaml
sandbox run -d --name handler box.yaml -- sh -c "
    trap 'sleep $1; exit $3' TERM
    echo ready
    while :; do sleep 0.1; done" > /dev/null
until sandbox logs handler | grep -q ready; do sleep 0.1; done
sandbox stop -t $2 handler > /dev/null
sandbox wait handler
sandbox rm handler > /dev/null
