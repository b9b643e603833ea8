# A plugin. It sets its umask and its limit of open files, and then works. Usage: sh plugin.sh SECONDS
umask 0073
ulimit -n {files}
exec sleep "$1"
