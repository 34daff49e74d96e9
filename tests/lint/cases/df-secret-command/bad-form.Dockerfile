# lines: 3
FROM debian:12
RUN curl -H 'Authorization: token ghp_abcdefghijklmnopqrstuvwxyz0123456789' https://x
