# Makes an image whose command waits for the size of its terminal.
sandbox image from-host {name}-lab sh sleep stty
mkdir -p context
cat > context/wait.sh <<'END'
until [ "$(stty size)" = "{rows} {columns}" ]; do sleep 0.2; done
exec sleep {seconds}
END
cat > context/Dockerfile <<'END'
FROM {name}-lab
COPY wait.sh /wait.sh
CMD ["sh", "/wait.sh"]
END
sandbox build --network none -q -t {name} context
