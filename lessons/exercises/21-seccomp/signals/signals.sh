# Sends SIGKILL to the first process. Sends four other signals, each to a process that it ends.
# Usage: sh signals.sh SECONDS SECONDS
sleep "$1" &
kill -KILL $!
for signal in HUP USR1 ALRM TERM; do
    sleep "$2" &
    kill -$signal $!
done
wait
