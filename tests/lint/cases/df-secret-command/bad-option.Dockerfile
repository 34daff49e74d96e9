# lines: 3
FROM debian:12
RUN mysql --password=hunter22 -e x
