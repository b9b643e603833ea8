# Makes two layers. base has links, so that programs of /usr work.
mkdir -p base/usr app
ln -sf usr/bin usr/lib usr/lib64 base
echo base > base/origin
echo hidden > base/note
echo {word} > app/note
