# lines: 3
FROM debian:12
RUN apt-get dist-upgrade -y
