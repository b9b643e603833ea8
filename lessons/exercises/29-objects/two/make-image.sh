# Makes an image with two programs.
sandbox image from-host {name} sh sleep
