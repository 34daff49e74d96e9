# lines: 3
FROM debian:12
RUN setcap cap_net_raw+ep /usr/bin/ping
