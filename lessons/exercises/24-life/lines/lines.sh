# Starts a container several times, removes it, makes it again, starts that several times, and counts the lines of its log.
# Usage: bash lines.sh BEFORE AFTER
printf 'pid:\nuser: {map: root}\n' > box.yaml
for times in $1 $2; do
    sandbox rm lines > /dev/null 2>&1
    sandbox create --name lines box.yaml -- echo started > /dev/null
    for start in $(seq $times); do sandbox start -a lines > /dev/null; done
done
sandbox logs lines | wc -l
sandbox rm lines > /dev/null
