# Makes containers, starts some of them, stops some of these, and counts the supervisors.
# Usage: bash measure.sh CREATED STARTED STOPPED
printf 'pid:\nuser: {map: root}\n' > box.yaml
for number in $(seq $1); do sandbox create --name box-$number box.yaml -- sleep 1000 >> ids; done
sandbox start $(head -n $2 ids) > /dev/null
sandbox stop -t 0 $(head -n $3 ids) > /dev/null
for id in $(cat ids); do pgrep -f "__supervise $id"; done | wc -l
sandbox rm -f $(cat ids) > /dev/null
