# lines: 2
FROM debian:latest
USER 10001
