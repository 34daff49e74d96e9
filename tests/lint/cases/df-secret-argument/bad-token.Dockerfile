# lines: 3
FROM debian:12
ARG NPM_TOKEN
