# Counts the System V segments and the files in /dev/shm that a process in a new
# IPC namespace sees.
# Usage: sh measure.sh OUTER INNER FILES, in new IPC and mount namespaces
set -e
for i in $(seq "$1"); do ipcmk -M 4096 > /dev/null; done
# shm_open(3) opens a file here.
for i in $(seq "$3"); do echo data > "/dev/shm/file-$i"; done
sandbox ipc -q -- sh -c '
    for i in $(seq "$0"); do ipcmk -M 4096 > /dev/null; done
    echo "$(ipcs -m | grep -c 0x) $(ls /dev/shm | wc -l)"' "$2"
