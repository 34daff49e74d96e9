# lines: 3
FROM debian:12
RUN GIT_SSL_NO_VERIFY=true git clone https://x.example/y
