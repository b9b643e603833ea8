# Starts a daemon for a store of its own and a container that prints lines, and counts the bytes of its log's stream.
export SANDBOX_HOME=$PWD/store
sandbox image from-host lab sh > /dev/null
sandbox daemon start --host "unix://$PWD/d.sock" > /dev/null
line=$(printf "%0$2d" 0)
body="{\"Image\": \"lab\", \"Cmd\": [\"sh\", \"-c\", \"for n in $(seq -s ' ' "$1"); do echo $line; done\"],
  \"HostConfig\": {\"NetworkMode\": \"none\"}}"
sandbox api POST '/containers/create?name=lines' "$body" > /dev/null
sandbox api POST /containers/lines/start > /dev/null
sandbox api POST /containers/lines/wait > /dev/null
sandbox api GET '/containers/lines/logs?stdout=1' | wc -c
sandbox daemon stop
sandbox rm -f lines > /dev/null
