# lines: 3
FROM debian:12
COPY id_rsa /root/.ssh/
