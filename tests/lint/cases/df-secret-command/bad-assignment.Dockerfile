# lines: 3
FROM debian:12
RUN NPM_TOKEN=abcdef12 npm ci
