# Counts the names in a directory that two layers have, after some were deleted.
# Usage: bash measure.sh BASE APP BOTH GONE
mkdir -p base/usr base/data app/data
ln -s usr/bin usr/lib usr/lib64 base
for ((i = 1; i <= $1; i++)); do : > base/data/$i; done
for ((i = 1; i <= $2; i++)); do
    if ((i <= $3)); then : > app/data/$i; else : > app/data/app-$i; fi
done
cat > names.yaml <<'END'
rootfs: {layers: [./app, ./base]}
mnt: {bind: [{source: /usr, target: /usr}]}
user: {map: root}
END
gone=$(seq -s ' ' $(($1 - $4 + 1)) $1)
sandbox run -q names.yaml -- sh -c "cd /data; rm $gone; ls | wc -l"
