# lines: 3
FROM debian:12
RUN chmod 4755 /usr/bin/x
