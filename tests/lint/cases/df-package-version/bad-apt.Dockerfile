# lines: 3 4
FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN apt-get update && apt-get install -y --no-install-recommends curl=8.1-1 ca-certificates
RUN apt install -y -t trixie-backports git
