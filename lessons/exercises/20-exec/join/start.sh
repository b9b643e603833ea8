# Starts the container, and waits until its command runs. Sets $pid, the PID
# of the command.
sandbox run -q web.yaml > /dev/null 2>&1 &
until pid=$(pgrep -xf "sleep $box"); do sleep 0.1; done
