# Starts a sleep in this namespace, and then the program.
# Usage: sh box.sh SECONDS
sleep {other} &
exec ./mounts "$1"
