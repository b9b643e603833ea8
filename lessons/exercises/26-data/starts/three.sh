# Starts the container of count.yaml three times.
sandbox create count.yaml
for start in 1 2 3; do
    sandbox stop -t 0 $name
    sandbox start $name
    until sandbox exec $name grep -q start /starts; do sleep 0.1; done
done
