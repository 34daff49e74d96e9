# lines: 3
FROM debian:12
RUN curl -fsSk https://x.example -o a
