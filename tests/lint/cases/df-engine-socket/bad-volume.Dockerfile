# lines: 3
FROM debian:12
VOLUME /var/run/docker.sock
