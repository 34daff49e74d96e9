# lines: 3
FROM debian:12
MAINTAINER Jo Doe <jo@example.org>
USER 1
