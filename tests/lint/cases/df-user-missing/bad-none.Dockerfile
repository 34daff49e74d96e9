# lines: 2
FROM debian:12
RUN x
