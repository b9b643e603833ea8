# Runs the container of count.yaml three times, each time as a new one.
for start in 1 2 3; do
    sandbox rm -f $name > /dev/null 2>&1
    sandbox run -d count.yaml
    until sandbox exec $name grep -q start /starts; do sleep 0.1; done
done
