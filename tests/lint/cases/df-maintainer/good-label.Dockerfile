FROM debian:12
LABEL maintainer="jo@example.org"
USER 1
