# lines: 3
FROM debian:12
ARG A=1 DB_PASSWORD
