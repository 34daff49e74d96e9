# lines: 3
FROM debian:12
ARG API_KEY=abcdef123456
