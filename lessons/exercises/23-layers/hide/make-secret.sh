# Makes a lower directory with a secret, and an empty upper directory.
mkdir -p lower/usr lower/lower lower/upper upper
ln -sf usr/bin usr/lib usr/lib64 lower
echo {word} > lower/secret
