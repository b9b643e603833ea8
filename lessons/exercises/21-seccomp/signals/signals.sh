# Sends SIGKILL to the first process and SIGTERM to the second one. Usage: sh signals.sh SECONDS SECONDS
sleep "$1" & kept=$!
sleep "$2" & ended=$!
kill -KILL $kept
kill -TERM $ended
wait
