# lines: 3
ARG V=latest
FROM debian:${V}
USER 10001
