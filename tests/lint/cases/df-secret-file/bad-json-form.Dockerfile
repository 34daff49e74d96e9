# lines: 3
FROM debian:12
COPY ["certs/server.key", "/etc/ssl/"]
