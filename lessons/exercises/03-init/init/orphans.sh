# Makes five orphans that end soon, and becomes sleep.
# Usage: sh orphans.sh SECONDS
for i in 1 2 3 4 5; do
    (sleep 0.1 &)
done
exec sleep "$1"
