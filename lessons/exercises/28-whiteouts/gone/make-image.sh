# Makes an image with the file /key.
sandbox image from-host {name}-lab sh rm sleep
printf 'rootfs: {name}-lab\npid:\nuser: {map: root}\n' > base.yaml
sandbox run --keep --name {name}-key base.yaml -- sh -c 'echo secret > /key'
sandbox commit {name}-key {name}-base
sandbox rm {name}-key
