# Starts a daemon for a store of its own and a container with a directory of the host, and counts the files that it reads.
export SANDBOX_HOME=$PWD/store
sandbox image from-host lab sh cat > /dev/null
mkdir files
for n in $(seq "$1"); do echo text > "files/open$n"; done
for n in $(seq "$2"); do echo text > "files/closed$n"; done
chmod 644 files/open*
chmod 000 files/closed*
sandbox daemon start --host "unix://$PWD/d.sock" > /dev/null
body='{"Image": "lab", "Cmd": ["sh", "-c", "n=0; for f in /files/*; do cat $f > /dev/null && n=$((n+1)); done; echo $n"],
  "HostConfig": {"NetworkMode": "none", "Binds": ["'"$PWD"'/files:/files"]}}'
sandbox api POST '/containers/create?name=reader' "$body" > /dev/null
sandbox api POST /containers/reader/start > /dev/null
sandbox api POST /containers/reader/wait > /dev/null
sandbox logs reader 2> /dev/null
sandbox daemon stop
sandbox rm -f reader > /dev/null
