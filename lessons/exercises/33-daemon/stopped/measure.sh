# Starts a daemon for a store of its own, asks it for containers, stops it, and counts the containers that run.
export SANDBOX_HOME=$PWD/store
sandbox image from-host lab sleep > /dev/null
sandbox daemon start --host "unix://$PWD/d.sock" > /dev/null
for n in $(seq $(($1 + $2))); do
  body='{"Image": "lab", "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": "none"}}'
  sandbox api POST "/containers/create?name=c$n" "$body" > /dev/null
  if [ "$n" -le "$1" ]; then sandbox api POST "/containers/c$n/start" > /dev/null; fi
done
sandbox daemon stop
sandbox ps -q | wc -l
sandbox rm -f $(sandbox ps -aq) > /dev/null
