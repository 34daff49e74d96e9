# lines: 2
FROM debian:12
USER 10001
