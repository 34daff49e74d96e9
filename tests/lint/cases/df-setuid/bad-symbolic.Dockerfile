# lines: 3
FROM debian:12
RUN chmod u+s /usr/bin/x
