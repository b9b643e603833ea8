# Makes the directory root: links, a file, and a mount point for /usr.
mkdir -p root/usr
for name in bin lib lib64; do
    ln -sfn "usr/$name" "root/$name"
done
echo '{word}' > root/note
