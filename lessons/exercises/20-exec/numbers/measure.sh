# Process 1 of a container starts N processes; a further command prints its PID and that of its parent.
# Usage: bash measure.sh N
printf 'name: numbers\npid:\nuser: {map: root}\n' > numbers.yaml
script='for ((i = 0; i < '$1'; i++)); do sleep 30 & done; echo started; exec sleep 30'
exec 3< <(exec sandbox run -q numbers.yaml -- bash -c "$script" 2> /dev/null)
container=$!
read -r started <&3
sandbox exec $(pgrep -P $container) sh -c 'echo $$ $PPID'
kill -KILL $container
