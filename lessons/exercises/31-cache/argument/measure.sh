# Builds an image twice in a store of its own, with two build arguments, and prints how often the cache was used.
export SANDBOX_HOME=$PWD/store
sandbox image from-host lab sh > /dev/null
mkdir -p context
{
  echo FROM lab
  for n in $(seq "$1"); do echo "RUN echo $n > /before$n"; done
  echo ARG LEVEL
  for n in $(seq "$2"); do echo "RUN echo $n > /after$n"; done
} > context/Dockerfile
sandbox build --network none --build-arg LEVEL=1 context > /dev/null
sandbox build --network none --build-arg LEVEL=2 context | grep -c 'Using cache'
