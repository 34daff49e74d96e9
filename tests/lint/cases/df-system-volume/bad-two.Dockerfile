# lines: 3 4
FROM debian:12
VOLUME /data /proc
VOLUME ["/"]
USER 1
