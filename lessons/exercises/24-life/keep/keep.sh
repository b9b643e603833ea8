# A small supervisor: sh keep.sh SECONDS. What is missing: a new session, no terminal, and a log.
sleep "$1" &
wait $!
echo "status $?" > state
