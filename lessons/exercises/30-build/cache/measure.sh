# Builds an image twice in a store of its own, with a changed file, and prints how often the cache was used.
export SANDBOX_HOME=$PWD/store
sandbox image from-host lab sh > /dev/null
mkdir -p context
{
  echo FROM lab
  for n in $(seq "$1"); do echo "RUN echo $n > /before$n"; done
  echo COPY note /
  for n in $(seq "$2"); do echo "RUN echo $n > /after$n"; done
} > context/Dockerfile
echo one > context/note
sandbox build context > /dev/null
echo two > context/note
sandbox build context | grep -c 'Using cache'
