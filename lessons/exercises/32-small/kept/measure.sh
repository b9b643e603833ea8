# Builds an image in which a later step removes a file, and prints the size of the layers of its steps, in kB.
export SANDBOX_HOME=$PWD/store
sandbox image from-host lab sh head rm > /dev/null
mkdir -p context
printf 'FROM lab\nRUN head -c %s000 /dev/zero > /big\nRUN rm /big\n' "$1" > context/Dockerfile
sandbox build --network none -q -t big context > /dev/null
sandbox history big --format '{{.Size}}' | sed -n '1,2s/kB$//p'
