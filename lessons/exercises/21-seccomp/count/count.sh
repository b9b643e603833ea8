# Sends each signal from 1 to LAST to a process that does not exist, and counts the calls that the filter denies.
# Usage: bash count.sh LAST
for signal in $(seq "$1"); do
    kill -$signal 99999999
done 2>&1 | grep -c 'not permitted'
